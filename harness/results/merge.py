"""Run folders of one experiment, such as its shards on several machines, made into one."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from harness.config import Experiment
from harness.errors import BenchError
from harness.files import file_sha256, replacing
from harness.plan import Cell
from harness.results.folder import RESUMED_WITH, DatasetEntry, Manifest, RunFolder
from harness.results.records import MachinePeak


def merge(runs: Sequence[Path], out: Path) -> RunFolder:
    """Copy the results of ``runs``, which are of one experiment, into the new run ``out``.

    Every cell keeps its session and every session its environment, so that speeds are paired only
    where they were interleaved. Cells without a result stay missing. ``out`` appears whole or not
    at all.

    Raises:
        BenchError: the runs are of different experiments, data, initial weights or versions of the
            harness, two of them have different results of a cell, a file is damaged, or ``out``
            is not free.
    """
    RunFolder.check_free(out)
    out = out.resolve()
    folders = [RunFolder.open(path) for path in runs]
    for other in folders[1:]:
        _check_same_experiment(folders[0], other)
    chosen = _results(folders)
    environments = _environments(folders)
    # What may lie there is an empty folder; a rename replaces it.
    unfinished = out.with_name(f".{out.name}.{secrets.token_hex(6)}.partial")
    try:
        merged = RunFolder.create(unfinished, _manifest(folders), folders[0].environment)
        for name, environment in environments.items():
            merged.begin(name, environment)
        for cell, folder in chosen.items():
            _copy(cell, folder, merged)
        if (peak := _peak(folders)) is not None:
            merged.write_machine(peak)
        unfinished.rename(out)
    except OSError as error:
        raise BenchError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return RunFolder.open(out)


def _check_same_experiment(first: RunFolder, other: RunFolder) -> None:
    one, two = first.manifest, other.manifest
    where = f"{other.path} cannot be merged with {first.path}"
    if one.harness_version != two.harness_version:
        raise BenchError(
            f"{where}: they were made by version {two.harness_version} and version "
            f"{one.harness_version} of the harness"
        )
    if names := _differing(_settings(one.experiment), _settings(two.experiment)):
        raise BenchError(f"{where}: the experiments differ in {', '.join(names)}")
    if one.initial_weights_sha256 != two.initial_weights_sha256:
        raise BenchError(f"{where}: they started from different files of initial weights")
    for name in one.datasets.keys() | two.datasets.keys():
        if not _same_data(one.datasets.get(name), two.datasets.get(name)):
            raise BenchError(f"{where}: the contents of the data set {name} differ")
    if one.cells != two.cells:
        raise BenchError(f"{where}: their plans have different cells")


def _same_data(one: DatasetEntry | None, two: DatasetEntry | None) -> bool:
    return one is not None and two is not None and one.same_content(two)


def _settings(experiment: Experiment) -> dict[str, object]:
    """By name; without what changes no result, and without paths, which differ by machine.

    Which data sets there are is compared by their names, what is in them by their contents.
    """
    training = experiment.training.model_copy(update={"initial_weights": None})
    left_out = {"training", "datasets", "skip_unavailable", *RESUMED_WITH}
    compared = [name for name in type(experiment).model_fields if name not in left_out]
    named = {name: getattr(experiment, name) for name in compared}
    return named | {name: getattr(training, name) for name in type(training).model_fields}


def _differing(one: dict[str, object], two: dict[str, object]) -> list[str]:
    return [f"{name} ({one[name]}, {two[name]})" for name in one if one[name] != two[name]]


def _results(folders: Sequence[RunFolder]) -> dict[Cell, RunFolder]:
    """For every cell with a result, a run that has it; everything that is copied has been read."""
    chosen: dict[Cell, RunFolder] = {}
    for folder in folders:
        for cell in folder.manifest.cells:
            if folder.read_result(cell) is None:
                continue
            folder.read_arrays(cell)
            before = chosen.setdefault(cell, folder)
            if before is not folder and _digests(before, cell) != _digests(folder, cell):
                raise BenchError(
                    f"{before.path} and {folder.path} have different results of {cell}: "
                    "leave one of the two runs out"
                )
    return chosen


def _digests(folder: RunFolder, cell: Cell) -> dict[str, str]:
    files = folder.cell_files(cell).items()
    return {name: file_sha256(path) for name, path in files if not name.endswith(".log")}


def _environments(folders: Sequence[RunFolder]) -> dict[str, dict[str, object]]:
    merged: dict[str, dict[str, object]] = {}
    for folder in folders:
        for name, environment in folder.environments.items():
            if merged.setdefault(name, environment) != environment:
                raise BenchError(
                    f"{folder.path}: its invocation {name} ran in another environment in another "
                    "of these runs: the folders are damaged"
                )
    return merged


def _manifest(folders: Sequence[RunFolder]) -> Manifest:
    """Of the whole experiment, as of the first run."""
    first = folders[0].manifest
    return first.model_copy(
        update={
            "created": min(folder.manifest.created for folder in folders),
            "command": first.command.removesuffix(f" --shard {first.shard}"),
            "shard": None,
        }
    )


def _peak(folders: Sequence[RunFolder]) -> MachinePeak | None:
    """The best that the processor showed; None where there are several kinds of processors."""
    found = [peak for folder in folders if (peak := folder.machine) is not None]
    # A run may itself have been resumed on another machine, or be a merged one.
    ran_on = [e for folder in folders for e in (folder.environment, *folder.environments.values())]
    if not found or len({str(environment.get("cpu")) for environment in ran_on}) > 1:
        return None
    return reduce(MachinePeak.better_of, found)


def _copy(cell: Cell, source: RunFolder, target: RunFolder) -> None:
    for name, path in source.cell_files(cell).items():
        with replacing(target.path / name) as copy:
            shutil.copyfile(path, copy)

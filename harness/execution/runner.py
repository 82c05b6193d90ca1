"""From an experiment to its results: checks first, then the plan, group by group."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from queue import Queue

from harness import __version__, variables
from harness.backends.spec import BackendSpec
from harness.config import Experiment, Training, available_cpus
from harness.console import plural
from harness.data.locate import resolve
from harness.data.reader import DatasetFile, open_dataset
from harness.data.schema import name_fault
from harness.data.validate import validate
from harness.errors import BenchError, WorkerError
from harness.execution.cell import now
from harness.execution.group import run_group
from harness.execution.inputs import first_weights
from harness.execution.observer import Observer, SilentObserver
from harness.execution.stop import Stop
from harness.execution.worker import Worker
from harness.files import file_sha256
from harness.measure.environment import collect
from harness.models.card import ModelCard
from harness.paths import data_dir as usual_data_dir
from harness.plan import Cell, Group, Shard, plan
from harness.plugins import choose_backends, find_model
from harness.results.folder import DatasetEntry, Manifest, RunFolder
from harness.results.records import CellResult
from harness.settings import command_words

CHECK_LIMIT_S = 300.0
"""For a framework to be imported and to look for a device."""


@dataclass(kw_only=True)
class Comparison:
    """An experiment that was checked, with its run folder and its plan."""

    folder: RunFolder
    backends: dict[str, BackendSpec]
    groups: tuple[Group, ...]
    observer: Observer = field(default_factory=SilentObserver)

    @property
    def cells(self) -> list[Cell]:
        return [cell for group in self.groups for cell in group]


def run(comparison: Comparison) -> list[CellResult]:
    """Execute the plan, group by group; the results of its cells, in the order of the plan.

    A cell that fails has that in its result. Cells that have a complete result are kept. The run
    folder is unlocked at the end.

    Raises:
        BenchError: something that a person must fix stopped the run; finished cells are kept.
        KeyboardInterrupt: it was told to stop; finished cells are kept.
    """
    try:
        if comparison.folder.manifest.experiment.accuracy_only:
            return _side_by_side(comparison)
        return [result for group in comparison.groups for result in finish_group(comparison, group)]
    finally:
        comparison.folder.unlock()


def _side_by_side(comparison: Comparison) -> list[CellResult]:
    """Every cell by itself, as many at a time as the CPUs have room for, each on CPUs of its own.

    The first error, or an interrupt, stops them all.
    """
    stop = Stop()
    cpus, threads = available_cpus(), comparison.folder.manifest.experiment.threads
    free: Queue[tuple[int, ...]] = Queue()
    for first in range(0, len(cpus) - threads + 1, threads):
        free.put(cpus[first : first + threads])

    def train(cell: Cell) -> CellResult:
        own = free.get()
        try:
            stop.check()
            (result,) = finish_group(comparison, (cell,), own, stop)
            return result
        finally:
            free.put(own)

    with ThreadPoolExecutor(free.qsize()) as pool:
        futures = [pool.submit(train, cell) for cell in comparison.cells]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            return [future.result() for future in futures]
        except BaseException:
            stop.tell()
            raise


def finish_group(
    comparison: Comparison,
    group: Group,
    cpus: tuple[int, ...] = (),
    stop: Stop | None = None,
) -> list[CellResult]:
    """Train and measure what of ``group`` has no complete result; see :func:`run_group`."""
    folder = comparison.folder
    done: dict[Cell, CellResult] = {}
    for cell in group:
        kept = folder.read_result(cell)
        if kept is not None and kept.status == "ok":
            folder.remove_checkpoints(cell)  # of a process that was killed in between
        if kept is not None and kept.status == "ok" and not kept.unfinished:
            done[cell] = kept
            comparison.observer.cell_ended(kept, resumed=True)
    pending = tuple(cell for cell in group if cell not in done)
    observer = comparison.observer
    for result in run_group(folder, comparison.backends, pending, observer, cpus, stop):
        done[result.cell] = result
    return [done[cell] for cell in group]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """An experiment that can be run here, with nothing written yet."""

    specs: tuple[BackendSpec, ...]
    groups: tuple[Group, ...]
    manifest: Manifest


def check(experiment: Experiment, data_dir: Path, shard: Shard | None = None) -> Checked:
    """Check everything that can be checked before any work is done.

    ``shard``: only its groups are to be run; the manifest is of the whole experiment all the same.

    Raises:
        BenchError: anything that a person must fix first.
    """
    cards = [find_model(name) for name in experiment.models]
    specs, skipped = choose_backends(
        experiment.frameworks,
        skip_unavailable=experiment.skip_unavailable,
        refusal=partial(_refusal, experiment=experiment, cards=cards),
    )
    entries: dict[str, DatasetEntry] = {}
    data_warnings: dict[str, tuple[str, ...]] = {}
    for name in experiment.datasets:
        path = resolve(name, data_dir)
        with open_dataset(path) as data:
            warnings = _checked(path)
            _check_trainable(data, path, experiment.training)
            entry = _describe(data, path)
            for card in cards:
                try:
                    first_weights(card, entry, experiment.training, seed=0)
                except BenchError as error:
                    raise BenchError(f"{path}: {error}") from error
            if data.name in entries:
                raise BenchError(
                    f"{path}: another data set of this run is called '{data.name}' too; "
                    "import one of them under another --name"
                )
            entries[data.name] = entry
            if warnings:
                data_warnings[data.name] = warnings

    experiment = experiment.model_copy(update={"frameworks": tuple(spec.name for spec in specs)})
    # A variant may have some of the models; it is left out of the groups of the others.
    unsupported = {
        (spec.name, card.name): reason
        for spec, card in product(specs, cards)
        if (reason := spec.unsupported(card, experiment.training.precision)) is not None
    }
    skipped |= {
        f"{framework} {model}": reason for (framework, model), reason in unsupported.items()
    }
    planned = plan(
        frameworks=experiment.frameworks,
        models=experiment.models,
        datasets=tuple(entries),
        seeds=experiment.seeds,
    )
    groups = tuple(
        kept
        for group in planned
        if (kept := tuple(c for c in group if (c.framework, c.model) not in unsupported))
    )
    if shard is not None and shard.count > len(groups):
        raise BenchError(
            f"--shard {shard}: the experiment has only {plural(len(groups), 'group')} (a model, a "
            f"data set and a seed): choose at most {plural(len(groups), 'shard')}"
        )
    cells = tuple(cell for group in groups for cell in group)
    if len({cell.id for cell in cells}) < len(cells):
        raise BenchError(
            "two cells of this run would share their files, because the name of a data set ends "
            "or begins like that of a model: import it under another --name"
        )
    manifest = Manifest(
        harness_version=__version__,
        created=now(),
        command=command_line(experiment, data_dir, shard),
        experiment=experiment,
        skipped=skipped,
        datasets=entries,
        data_warnings=data_warnings,
        initial_weights_sha256=_sha256(experiment.training.initial_weights),
        cells=cells,
        shard=shard,
    )
    own = groups if shard is None else shard.of(groups)
    return Checked(specs=tuple(specs), groups=own, manifest=manifest)


def prepare(
    experiment: Experiment,
    *,
    out: Path,
    data_dir: Path,
    resume: bool = False,
    shard: Shard | None = None,
    observer: Observer | None = None,
) -> Comparison:
    """Check ``experiment`` and open the run's folder; ``shard``: for its groups only.

    Raises:
        BenchError: anything that a person must fix first; nothing has been written then.
    """
    if not resume:
        RunFolder.check_free(out)
    checked = check(experiment, data_dir, shard)
    specs, manifest = checked.specs, checked.manifest
    versions = {name: found for spec in specs for name, found in spec.versions().items()}
    environment = collect(versions, variables.recorded(os.environ))
    if resume:
        folder = RunFolder.resume(out, manifest)
    else:
        folder = RunFolder.create(out, manifest, environment)
    folder.lock()
    folder.begin(f"{now()}-{secrets.token_hex(8)}", environment)
    return Comparison(
        folder=folder,
        backends={spec.name: spec for spec in specs},
        groups=checked.groups,
        observer=observer or SilentObserver(),
    )


def _refusal(
    spec: BackendSpec, *, experiment: Experiment, cards: Sequence[ModelCard]
) -> str | None:
    """Why ``spec``, which is installed, cannot run ``experiment`` here."""
    if experiment.device not in spec.devices:
        return f"cannot run with --device {experiment.device}"
    reasons = [spec.unsupported(card, experiment.training.precision) for card in cards]
    if None not in reasons:
        return reasons[0]
    if experiment.device == "cpu":
        return None
    # Only the framework itself knows, and it is imported in a process of its own.
    try:
        with Worker(spec, threads=1, limit_s=CHECK_LIMIT_S) as worker:
            worker.import_framework()
            worker.check(experiment.device)
    except (BenchError, WorkerError) as error:
        return f"cannot run with --device {experiment.device}: {error}"
    return None


def command_line(experiment: Experiment, data_dir: Path, shard: Shard | None = None) -> str:
    """The command that makes exactly this experiment, its settings spelled out."""
    words = ["bench", "run", *command_words(experiment)]
    if data_dir != usual_data_dir():
        words += ["--data-dir", str(data_dir)]
    if shard is not None:
        words += ["--shard", str(shard)]
    return shlex.join(words)


def _sha256(path: Path | None) -> str | None:
    return None if path is None else file_sha256(path)


def _checked(path: Path) -> tuple[str, ...]:
    """The warnings of `bench data validate`; BenchError where it finds errors."""
    problems = validate(path)
    errors = [problem.message for problem in problems if problem.severity == "error"]
    if errors:
        more = f" ({len(errors)} errors; `bench data validate` lists them)" * (len(errors) > 1)
        raise BenchError(f"{path}: invalid: {errors[0]}{more}; import or export it again")
    return tuple(problem.message for problem in problems)


def _check_trainable(data: DatasetFile, path: Path, training: Training) -> None:
    batch_size = training.batch_size
    if fault := name_fault(data.name):  # it names files of the run
        raise BenchError(f"{path}: {fault}")
    if batch_size > data.sizes["train"]:
        raise BenchError(
            f"batch size {batch_size} is larger than the {data.sizes['train']} training images "
            f"of {path}: choose a smaller --batch-size"
        )
    if training.positive_weights != "none" and data.task != "multilabel":
        raise BenchError(
            f"{path}: an image has one label there, and weights for positives are for images with "
            "several: leave --positive-weights out"
        )
    side = min(data.image_shape[1:])
    if training.augmentation.shift >= side:
        raise BenchError(
            f"{path}: a shift of {training.augmentation.shift} pixels leaves nothing of images of "
            f"{side}: choose a smaller --shift"
        )


def _describe(data: DatasetFile, path: Path) -> DatasetEntry:
    return DatasetEntry(
        path=str(path),
        sha256=data.sha256(),
        content_sha256=data.content_sha256(),
        train=data.sizes["train"],
        val=data.sizes["val"],
        test=data.sizes["test"],
        image_shape=data.image_shape,
        classes=data.classes,
        task=data.task,
        source=json.dumps(data.source),
        split=data.split_rule,
        license=data.license,
    )

"""The Python API: ``harness.compare``, ``load_run``, ``import_dataset`` and ``evaluate``.

Every function raises :class:`harness.errors.BenchError` for what its caller can fix: the message
says what is wrong, where, and what to do. examples/api.py uses all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import paths
from harness.analysis.run import Run
from harness.config import Experiment, load_experiment
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.data.split import Fractions
from harness.errors import BenchError, unknown
from harness.execution import evaluation, runner
from harness.execution.evaluation import Evaluated
from harness.execution.observer import Observer
from harness.results.folder import RunFolder
from harness.settings import nested, options


def compare(
    experiment: str | Path | None = None,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: Any,
) -> Run:
    """Train every framework on every network and data set from every seed, as ``bench run`` does.

    Args:
        experiment: a TOML file with settings.
        out: folder of the run, new or empty [default: ``runs/`` and the time].
        data_dir: folder of the HDF5 files [default: as ``bench run`` has it].
        resume: continue the run in ``out``: train and measure what is missing.
        observer: is told of every phase, epoch and cell.
        settings: those of docs/settings.md, named as the options of ``bench run`` with underscores
            (``epochs=5, lr=0.02, batch_size=128``); they win over the file.

    Returns:
        The run that was written to ``out``. Cells that failed are in it with their reasons.

    Raises:
        BenchError: an unknown setting, an impossible value, a framework that is not ready.
    """
    if resume and out is None:
        raise BenchError("resume=True continues the run in out=: name its folder")
    path = None if experiment is None else Path(experiment)
    comparison = runner.prepare(
        load_experiment(path, nested(Experiment, _checked(settings))),
        out=paths.new_run_folder() if out is None else Path(out),
        data_dir=paths.data_dir(None if data_dir is None else Path(data_dir)),
        resume=resume,
        observer=observer,
    )
    runner.run(comparison)
    return Run.read(comparison.folder)


def load_run(folder: str | Path) -> Run:
    """Read a run: what was asked for, and every result.

    Raises:
        BenchError: there is no run, it has no result yet, or a file is damaged.
    """
    return Run.read(RunFolder.open(Path(folder)))


def import_dataset(
    source: str | Path,
    name: str,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    format: str | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    split_seed: int = 0,
    license: str = "",
    **options: Any,
) -> Path:
    """Write images and labels to one HDF5 file that every framework reads.

    Args:
        source: a folder of images, a CSV file, a .npz file, ...; see docs/own-data.md.
        name: of the data set, for ``datasets=[name]``.
        out: the file [default: NAME.h5 in the data folder]; must not be there yet.
        data_dir: the data folder.
        format: which importer [default: recognised].
        val_fraction: share of the training images for validation, where there is no such split.
        test_fraction: the same for the test split.
        split_seed: of the splits.
        license: of the images [default: that of the source, if known].
        options: fields of :class:`harness.data.importers.options.ImportOptions`, such as
            ``size=(64, 64)``.

    Returns:
        The path of the file.

    Raises:
        BenchError: nothing readable there, an ambiguous source, invalid data, or a file in ``out``.
    """
    folder = paths.data_dir(None if data_dir is None else Path(data_dir))
    target = folder / f"{name}.h5" if out is None else Path(out)
    if target.exists():
        raise BenchError(f"{target}: exists already; remove it, or choose another name or out=")
    return import_path(
        Path(source),
        name,
        target,
        format=format,
        options=ImportOptions(**options),
        fractions=Fractions(val_fraction, test_fraction, split_seed),
        license=license,
    )


def evaluate(
    weights: str | Path,
    *,
    dataset: str,
    frameworks: Sequence[str],
    model: str | None = None,
    split: str = "test",
    threads: int | None = None,
    precision: str = "float32",
    data_dir: str | Path | None = None,
) -> list[Evaluated]:
    """Predict a split with trained weights in every one of ``frameworks``, and score it.

    Args:
        weights: a weight file, of a run or imported.
        dataset: its name, or the path of its HDF5 file.
        model: the network [default: what the weight file says].
        split: 'train', 'val' or 'test'.
        threads: CPU threads of each framework [default: all].
        precision: 'float32' or 'float64'.

    Returns:
        One score a framework, in the order of ``frameworks``: its logits (N, outputs), accuracy,
        loss, AUROC, and the seconds of the prediction.

    Raises:
        BenchError: weights, data and network do not fit each other.
        WorkerError: a framework failed.
    """
    request = evaluation.prepare(
        Path(weights),
        frameworks=frameworks,
        dataset=dataset,
        data_dir=paths.data_dir(None if data_dir is None else Path(data_dir)),
        model=model,
        split=split,
        threads=threads,
        precision=precision,
    )
    return list(evaluation.scores(request))


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """``settings``, where lists may be one item; unknown names are refused."""
    known = {each.parameter: each for each in options(Experiment)}
    found = {}
    for name, value in settings.items():
        if name not in known:
            raise unknown("setting", name, known)
        if known[name].is_list:
            items = [value] if isinstance(value, str | int | Path) else value
            value = [str(item) if isinstance(item, Path) else item for item in items]
        found[name] = value
    return found

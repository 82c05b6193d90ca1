"""Trained weights, judged in frameworks of one's choice: ``bench evaluate``.

One framework after the other, each in a process of its own, as in a run; everything that can be
checked is checked before the first of them starts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.backends.base import TrainingJob
from harness.backends.spec import BackendSpec
from harness.config import Optimizer, parse_experiment
from harness.data.locate import resolve
from harness.data.reader import DatasetFile, open_dataset
from harness.data.schema import SPLITS, UInt8Array
from harness.errors import BenchError, WorkerError, unknown
from harness.execution.worker import Worker
from harness.files import new_hdf5
from harness.plugins import find_backend, find_model
from harness.protocol.weights import (
    Origin,
    WeightFile,
    Weights,
    load_weights,
    read_weights,
    save_weights,
)
from harness.results.folder import RunFolder
from harness.stats.metrics import Evaluation, evaluate
from harness.stats.tasks import Task

_SCHEMA = "logits/1"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be evaluated, on what and by whom; all of it checked."""

    specs: tuple[BackendSpec, ...]
    weights: Weights
    """In the order of the network, float32 or float64 as they were written."""
    task: TrainingJob
    dataset: str
    """Its name."""
    split: str
    kind: Task
    classes: tuple[str, ...]
    labels: UInt8Array
    """(N,), or for multi-label data (N, outputs)"""
    groups: NDArray[np.int64] | None
    """(N,): which images are of one patient, where the data set says so."""
    remark: str | None
    """What a reader of the figures should know."""


class FrameworkEvaluation(NamedTuple):
    """How one framework did."""

    framework: str
    logits: NDArray[np.floating]
    """(N, outputs), in the precision asked for."""
    evaluation: Evaluation
    seconds: float
    """Of the second prediction; the first may compile."""

    @property
    def images_per_second(self) -> float:
        return len(self.logits) / self.seconds


def prepare(
    weights: Path,
    *,
    frameworks: Sequence[str],
    dataset: str,
    data_dir: Path,
    model: str | None = None,
    split: str = "test",
    threads: str | int | None = None,
    precision: str = "float32",
) -> Request:
    """Check everything that can be checked before any process starts.

    Raises:
        BenchError: anything that a person must fix first.
    """
    settings: dict[str, Any] = {"frameworks": frameworks, "training": {"precision": precision}}
    if threads is not None:
        settings["threads"] = threads
    experiment = parse_experiment(settings, where="options")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    specs = tuple(find_backend(name) for name in frameworks)
    for spec in specs:
        if (reason := spec.missing()) is not None:
            raise BenchError(f"framework '{spec.name}' {reason}")
    file = read_weights(weights)
    path = resolve(dataset, data_dir)
    # A budget of nothing: the pixels stay on the disk, this process wants labels only.
    with open_dataset(path, memory_budget=0) as data:
        task = TrainingJob(
            model=_model(file, model),
            dataset=path,
            optimizer=Optimizer(),  # never used: nothing is trained
            precision=experiment.training.precision,
            threads=experiment.threads,
        )
        return Request(
            specs=specs,
            weights=_fitting(file, task, data),
            task=task,
            dataset=data.name,
            split=split,
            kind=data.task,
            classes=data.classes,
            labels=data.split(split).labels,
            groups=data.split(split).group,
            remark=_remark(file, data),
        )


def _model(file: WeightFile, asked: str | None) -> str:
    """The network to build; its card exists."""
    if asked is not None:
        find_model(asked)
    if file.model is None and asked is None:
        raise BenchError(f"{file.path} does not say of which network it is: name it with --model")
    # Networks may share all shapes and differ in what they compute: names count.
    if asked is not None and file.model not in (None, asked):
        raise BenchError(f"{file.path} holds weights of '{file.model}', not of '{asked}'")
    name = asked or str(file.model)
    try:
        return find_model(name).name
    except BenchError as error:
        raise BenchError(f"{file.path}: {error}") from error


def _fitting(file: WeightFile, task: TrainingJob, data: DatasetFile) -> Weights:
    """The weights, once the file fits the network, and its training the data set."""
    origin = file.origin
    if origin.image_shape not in (None, data.image_shape):
        trained, given = (
            "x".join(map(str, s or ())) for s in (origin.image_shape, data.image_shape)
        )
        raise BenchError(
            f"{file.path} was trained on images of {trained} (CxHxW), those of {data.path} "
            f"are {given}"
        )
    if origin.task not in (None, data.task):
        raise BenchError(f"{file.path} was trained for a {origin.task} task, {data.path} is "
                         f"{data.task}")  # fmt: skip
    if origin.classes not in (None, data.classes):
        trained, given = (_listed(names or ()) for names in (origin.classes, data.classes))
        raise BenchError(
            f"{file.path} was trained for the classes {trained}, {data.path} has {given}"
        )
    try:
        parameters = find_model(task.model).parameters(data.image_shape, data.outputs)
    except BenchError as error:
        raise BenchError(f"{data.path}: {error}") from error
    try:
        return file.fitting(parameters)
    except BenchError as error:
        raise BenchError(f"{error} ({task.model} on {data.path})") from error


def _listed(names: tuple[str, ...], limit: int = 5) -> str:
    shown = ", ".join(" ".join(name.split()) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _remark(file: WeightFile, data: DatasetFile) -> str | None:
    if file.origin.dataset in (None, data.name):
        return None
    return (
        f"trained on '{file.origin.dataset}'; the pixels of '{data.name}' are normalised by the "
        "mean and standard deviation of its own training split"
    )


class Evaluator:
    """One framework in a process of its own; it may evaluate many networks on many data sets."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @classmethod
    @contextmanager
    def start(cls, spec: BackendSpec, threads: int) -> Iterator[Evaluator]:
        """Start the process and import the framework.

        Raises:
            WorkerError: the framework failed, here or later; the message names the file with its
                output, which is kept only then.
        """
        descriptor, name = tempfile.mkstemp(prefix=f"bench-evaluate-{spec.name}-", suffix=".log")
        log, failed = Path(name), False
        try:
            with (
                os.fdopen(descriptor, "wb") as output,
                Worker(spec, threads=threads, log=output) as worker,
            ):
                worker.import_framework()
                yield cls(worker)
        except WorkerError as error:
            failed = True
            raise WorkerError(f"{spec.name}: {error} (its output: {log})", error.details) from error
        finally:
            if not failed:
                with suppress(OSError):
                    log.unlink()

    def score(self, request: Request) -> FrameworkEvaluation:
        """Build the network with its weights and predict the split twice."""
        _, held = self.worker.build(request.task, request.weights)
        for name, array in request.weights.items():
            sent = array.astype(request.task.precision)
            if name not in held or not np.array_equal(held[name], sent, equal_nan=True):
                raise WorkerError(f"it did not take over the weights of {name}")
        self.worker.predict(request.split)
        seconds, logits = self.worker.predict(request.split)
        wanted = (len(request.labels), len(request.classes))
        if logits.shape != wanted:
            raise WorkerError(f"it returned logits of shape {logits.shape}, not {wanted}")
        judged = evaluate(request.kind, logits, request.labels)
        return FrameworkEvaluation(self.worker.spec.name, logits, judged, seconds)


def scores(request: Request) -> Iterator[FrameworkEvaluation]:
    """The score of every framework, one process after the other.

    Raises:
        WorkerError: a framework failed.
        BenchError: something a person must fix.
    """
    for spec in request.specs:
        with Evaluator.start(spec, request.task.threads) as evaluator:
            yield evaluator.score(request)


def largest_difference(logits: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Largest absolute difference of two (N, outputs), in float64; NaN where either has one."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return float(np.abs(logits.astype(np.float64) - reference).max())


def check_out(path: Path, *, force: bool) -> None:
    """Refuse to write to ``path``, before any work is done.

    Raises:
        BenchError: a folder, or a file that is there already and shall not be replaced.
    """
    if path.is_dir():
        raise BenchError(f"{path} is a folder: name a file")
    if path.exists() and not force:
        raise BenchError(f"{path} exists already: pass --force to replace it, or name another file")


def write_logits(path: Path, request: Request, found: Sequence[FrameworkEvaluation]) -> None:
    """Write ``labels``, ``groups`` where there are some, and ``logits/FRAMEWORK`` of each.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full.
    """
    with new_hdf5(path, size=sum(score.logits.nbytes for score in found)) as file:
        file.attrs["schema"] = _SCHEMA
        file.attrs["model"] = request.task.model
        file.attrs["dataset"] = request.dataset
        file.attrs["split"] = request.split
        file.attrs["task"] = request.kind
        file.attrs.create("classes", list(request.classes), dtype=h5py.string_dtype("utf-8"))
        file["labels"] = request.labels
        if request.groups is not None:
            file["groups"] = request.groups
        for score in found:
            file[f"logits/{score.framework}"] = score.logits


def export_weights(folder: RunFolder, cell_id: str, out: Path) -> None:
    """Write the trained weights of a cell, with their origin, to the weight file ``out``.

    Raises:
        BenchError: no such cell, it failed or has not ended, or its file is damaged.
    """
    cells = {cell.id: cell for cell in folder.manifest.cells}
    if cell_id not in cells:
        raise unknown("cell", cell_id, cells)
    cell = cells[cell_id]
    result = folder.read_result(cell)
    if result is None:
        raise BenchError(
            f"cell '{cell}' has not ended yet: let the run go on, or add --resume "
            f"--out {folder.path} to its command"
        )
    if result.status != "ok":
        raise BenchError(f"cell '{cell}' {result.outcome}, so it has no weights: {result.error}")
    entry = folder.manifest.datasets[cell.dataset]
    parameters = find_model(cell.model).parameters(entry.image_shape, len(entry.classes))
    save_weights(
        out,
        load_weights(folder.weights_path(cell), parameters),
        model=cell.model,
        origin=Origin(
            framework=cell.framework,
            dataset=cell.dataset,
            task=entry.task,
            seed=cell.seed,
            image_shape=entry.image_shape,
            classes=entry.classes,
        ),
    )

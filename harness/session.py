"""Training the cells of one group: each in its own worker, epoch by epoch in turns."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Task
from harness.backends.registry import BackendSpec
from harness.config import Training, available_cpus
from harness.data.hdf5 import SplitReader, open_dataset
from harness.errors import WorkerError
from harness.measure.conditions import Conditions, watching
from harness.measure.examples import Examples, choose
from harness.measure.metrics import evaluate
from harness.measure.operations import Operation
from harness.measure.peak import Gauge
from harness.models import find_model
from harness.models.card import ModelCard
from harness.plan import Cell, Group
from harness.protocol.augmentation import epoch_moves
from harness.protocol.order import epoch_order, steps_per_epoch
from harness.protocol.positives import balancing_weights
from harness.protocol.schedule import learning_rates
from harness.protocol.transfer import starting_weights
from harness.protocol.weights import (
    Origin,
    Weights,
    digest,
    initial_weights,
    read_weights,
    save_weights,
)
from harness.results.folder import CellArrays, DatasetEntry, RunFolder
from harness.results.records import (
    CellResult,
    Epoch,
    Identity,
    Latency,
    MachinePeak,
    Phases,
    Round,
    Score,
)
from harness.worker import Worker

INFERENCE_CALLS = 200
"""At most, of each batch size."""
INFERENCE_S = 1.0
"""After which no further call is begun."""
PROFILED_STEPS = 50
"""A profiler keeps every event, and more of the same say nothing new."""


class Observer(Protocol):
    """Hears what happens while a run goes on."""

    def phase_started(self, cell: Cell, phase: str) -> None: ...
    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None: ...
    def cell_ended(self, result: CellResult, *, resumed: bool) -> None: ...


class SilentObserver:
    def phase_started(self, cell: Cell, phase: str) -> None: ...
    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None: ...
    def cell_ended(self, result: CellResult, *, resumed: bool) -> None: ...


def now() -> str:
    """The present moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Course:
    """What every framework of a group gets: the same weights, the same batches, the same rates."""

    orders: list[NDArray[np.int64]]
    """One (steps, batch) an epoch."""
    rates: NDArray[np.float64]
    """(epochs, steps)"""
    moves: list[NDArray[np.int64] | None]
    """One (steps, batch, 3) an epoch, or None where images are not moved."""
    weights: Weights

    @classmethod
    def make(cls, weights: Weights, training: Training, examples: int, seed: int) -> Course:
        steps = steps_per_epoch(examples, training.batch_size)
        peak = training.optimizer.learning_rate
        rates = learning_rates(training.schedule, peak, training.epochs * steps)
        return cls(
            orders=[
                epoch_order(examples, training.batch_size, seed, epoch)
                for epoch in range(training.epochs)
            ],
            rates=rates.reshape(training.epochs, steps),
            moves=[
                epoch_moves(
                    steps, training.batch_size, seed, epoch, **training.augmentation.model_dump()
                )
                for epoch in range(training.epochs)
            ],
            weights=weights,
        )

    def identity(self, data: str, weights: Weights) -> Identity:
        """Digests of this course for ``weights`` as a framework holds them."""
        return Identity(
            data=data,
            initial_weights=digest({name: w.astype(np.float32) for name, w in weights.items()}),
            batch_order=hashlib.sha256(b"".join(o.tobytes() for o in self.orders)).hexdigest(),
            learning_rates=hashlib.sha256(self.rates.tobytes()).hexdigest(),
            augmentation=self._augmentation(),
        )

    def _augmentation(self) -> str:
        drawn = [moves.tobytes() for moves in self.moves if moves is not None]
        return hashlib.sha256(b"".join(drawn)).hexdigest() if drawn else "none"


@dataclass
class Showcase:
    """Test images that the report shows of a group; the first cell to finish chooses them."""

    chosen: Examples | None = None

    @classmethod
    def of(cls, folder: RunFolder, group: Group) -> Showcase | None:
        """What a finished cell of the group has kept already.

        None for all seeds but the run's first: their pictures would say the same again.
        """
        first = group[0]
        if first.seed != folder.manifest.experiment.seeds[0]:
            return None
        for cell in folder.manifest.cells:
            if cell.model_copy(update={"framework": first.framework}) != first:
                continue
            result = folder.read_result(cell)
            if result is None or result.status != "ok":
                continue
            arrays = folder.read_arrays(cell)
            if arrays is not None and arrays.example_rows is not None:
                assert arrays.example_outputs is not None
                return cls(Examples(arrays.example_rows, arrays.example_outputs))
        return cls()


def run_group(
    folder: RunFolder,
    backends: Mapping[str, BackendSpec],
    group: Group,
    observer: Observer,
) -> Iterator[CellResult]:
    """Train the cells of one group in turns; a cell that fails leaves the others alone.

    Every result is on disk before it is yielded.
    """
    if not group:
        return
    training = folder.manifest.experiment.training
    entry = folder.manifest.datasets[group[0].dataset]
    card = find_model(group[0].model)
    weights = first_weights(card, entry, training, group[0].seed)
    course = Course.make(weights, training, entry.train, group[0].seed)
    trainable = card.trainable_size(entry.image_shape, len(entry.classes))
    adapted = adapted_weights(weights, training)
    showcase = Showcase.of(folder, group)
    experiment = folder.manifest.experiment
    cpus = available_cpus()
    with ExitStack() as stack:
        gauge = stack.enter_context(Gauge(threads=experiment.threads, cpus=cpus))
        if folder.machine is None:
            folder.write_machine(measure_machine(gauge, experiment.threads))
        sessions = [
            Session(
                folder=folder,
                spec=backends[cell.framework],
                cell=cell,
                course=course,
                parameters=trainable,
                adapted=adapted,
                showcase=showcase,
                gauge=gauge,
                cpus=cpus,
                observer=observer,
            )
            for cell in group
        ]
        for session in sessions:
            yield from session.attempt(session.open, stack)
        for number in range(training.epochs):
            for session in sessions:
                yield from session.attempt(session.train_epoch, number)
        for session in sessions:
            yield from session.attempt(session.test)
        for number in range(training.epochs, experiment.rounds):
            for session in sessions:
                yield from session.attempt(session.time_round, number)
        if group[0].seed == experiment.seeds[0]:  # another seed answers no faster
            for batch_size in experiment.inference:
                for session in sessions:
                    yield from session.attempt(session.time_inference, batch_size)
            if experiment.profile:
                for session in sessions:
                    yield from session.attempt(session.profile)
        for session in sessions:
            yield from session.attempt(session.finish)


def measure_machine(gauge: Gauge, threads: int) -> MachinePeak:
    """What the processors of this run can do at most; nothing else runs meanwhile."""
    return MachinePeak(
        threads=threads,
        gemm_gflops={
            "float32": gauge.peak_gemm_gflops("float32"),
            "float64": gauge.peak_gemm_gflops("float64"),
        },
        bandwidth_gb_s=gauge.bandwidth_gb_s(),
    )


def first_weights(card: ModelCard, entry: DatasetEntry, training: Training, seed: int) -> Weights:
    """What training starts from: drawn by the protocol, or from the file that was asked for.

    Raises:
        BenchError: the file does not fit the network.
    """
    if training.initial_weights is None:
        return initial_weights(card.parameters(entry.image_shape, len(entry.classes)), seed)
    file = read_weights(training.initial_weights)
    return starting_weights(file, card, entry.image_shape, len(entry.classes), seed)


def adapted_weights(weights: Weights, training: Training) -> tuple[str, ...]:
    """Names of ``weights`` that are not as in the file that training starts from."""
    if training.initial_weights is None:
        return ()
    file = read_weights(training.initial_weights).weights
    return tuple(
        name
        for name, array in weights.items()
        if name not in file or not np.array_equal(np.asarray(file[name], array.dtype), array)
    )


class Session:
    """One cell on its way from a new process to a result."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        spec: BackendSpec,
        cell: Cell,
        course: Course,
        parameters: int,
        adapted: tuple[str, ...],
        showcase: Showcase | None,
        gauge: Gauge,
        cpus: tuple[int, ...],
        observer: Observer,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.cell = cell
        self.course = course
        self.parameters = parameters
        self.adapted = adapted
        self.showcase = showcase
        self.gauge = gauge
        self.cpus = cpus
        self.observer = observer
        self.ended = False
        self.phases: Phases | None = None
        self.identity: Identity | None = None
        self.epochs: list[Epoch] = []
        self.losses: list[NDArray[np.float64]] = []
        self.extra_rounds: list[Round] = []
        self.inference: list[Latency] = []
        self.operations: dict[Operation, float] = {}

    def attempt(
        self, action: Callable[..., CellResult | None], *arguments: object
    ) -> Iterator[CellResult]:
        """Do ``action`` unless this session has ended; yield the result if that ends it."""
        if self.ended:
            return
        try:
            result = action(*arguments)
        except WorkerError as error:
            result = CellResult(
                cell=self.cell,
                status="failed",
                error=str(error),
                started=self.started,
                phases=self.phases,
                epochs=tuple(self.epochs),
                identity=self.identity,
                parameters=self.parameters,
                adapted=self.adapted,
            )
        if result is not None:
            self.ended = True
            self.folder.write_result(result)
            self.observer.cell_ended(result, resumed=False)
            yield result

    def open(self, stack: ExitStack) -> None:
        """Start the worker, and measure everything that happens once."""
        self.started = now()
        experiment = self.folder.manifest.experiment
        self.entry = self.folder.manifest.datasets[self.cell.dataset]
        task = Task(
            model=self.cell.model,
            dataset=Path(self.entry.path),
            optimizer=experiment.training.optimizer,
            precision=experiment.training.precision,
            threads=experiment.threads,
            device=experiment.device,
            positive_weights=self._positive_weights(experiment.training),
        )
        self.observer.phase_started(self.cell, "importing")
        caches = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cache-"))
        self.worker = stack.enter_context(
            Worker(
                self.spec,
                threads=task.threads,
                cpus=self.cpus,
                log=stack.enter_context(self.folder.log_path(self.cell).open("wb")),
                environment=_cold_caches(caches),
            )
        )
        import_s = self.worker.import_framework()
        self.observer.phase_started(self.cell, "building")
        build_s, echoed = self.worker.build(task, self.course.weights)
        for name, sent in self.course.weights.items():
            if name not in echoed or not np.array_equal(echoed[name], sent):
                raise WorkerError(f"{self.spec.name} did not take over the weights of {name}")
        self.identity = self.course.identity(self.entry.sha256, echoed)
        self.observer.phase_started(self.cell, "compiling")
        first_step_s, _ = self.worker.train_epoch(
            self.course.orders[0][:1], self.course.rates[0][:1], _first_of(self.course.moves[0])
        )
        first_predict_s, _ = self.worker.predict("val")
        self.worker.load_weights(self.course.weights)  # that step was a trial: start over
        self.phases = Phases(
            start_s=self.worker.start_s,
            import_s=import_s,
            build_s=build_s,
            first_step_s=first_step_s,
            first_predict_s=first_predict_s,
        )

    def train_epoch(self, number: int) -> None:
        """One round: train, then evaluate on the validation split, timed apart."""
        order = self.course.orders[number]
        seconds, losses, conditions = self._timed_pass(number)
        if losses.shape != (len(order),):
            raise WorkerError(
                f"{self.spec.name} returned losses of shape {losses.shape} for {len(order)} steps"
            )
        evaluate_s, logits, split = self._predict("val")
        validation = evaluate(self.entry.task, logits, split.labels)
        epoch = Epoch(
            seconds=seconds,
            images=order.size,
            loss=float(losses.mean()),
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            val_auroc=validation.mean_auroc,
            evaluate_s=evaluate_s,
            conditions=conditions,
        )
        self.losses.append(losses)
        self.epochs.append(epoch)
        self.observer.epoch_ended(self.cell, number + 1, epoch)

    def _timed_pass(self, number: int) -> tuple[float, NDArray[np.float64], Conditions | None]:
        """Train on the batches of epoch ``number``; seconds, losses, and the machine meanwhile."""
        precision = self.folder.manifest.experiment.training.precision
        speed = self.gauge.gemm_gflops(precision)
        with watching(self.worker.pid, self.cpus[: self._threads], speed) as watch:
            seconds, losses = self.worker.train_epoch(
                self.course.orders[number], self.course.rates[number], self.course.moves[number]
            )
        return seconds, losses, watch.conditions

    def test(self) -> None:
        """Evaluate on the test split; keep predictions, examples and weights."""
        seconds, logits, split = self._predict("test")
        found = evaluate(self.entry.task, logits, split.labels)
        self.score = Score(
            examples=found.examples,
            correct=found.correct,
            accuracy=found.accuracy,
            loss=found.loss,
            auroc=found.auroc,
            seconds=seconds,
        )
        # Of the work measured, not of what follows.
        self.peak_rss_bytes = self.worker.peak_rss_bytes()
        examples = self._examples(logits, split)
        self.folder.write_arrays(
            self.cell,
            CellArrays(
                step_losses=np.concatenate(self.losses),
                test_logits=logits,
                test_labels=split.labels,
                test_groups=split.group,
                **self._shown(examples),
            ),
        )
        save_weights(
            self.folder.weights_path(self.cell),
            self.worker.save_weights(),
            model=self.cell.model,
            origin=Origin(
                framework=self.cell.framework,
                dataset=self.cell.dataset,
                task=self.entry.task,
                seed=self.cell.seed,
                image_shape=self.entry.image_shape,
                classes=self.entry.classes,
            ),
        )
        if self.showcase is not None:
            self.showcase.chosen = examples

    def time_round(self, number: int) -> None:
        """One more round for the clock alone: the first epochs over again, from the start."""
        epochs = len(self.course.orders)
        if number % epochs == 0:
            self.observer.phase_started(self.cell, "timing")
            self.worker.load_weights(self.course.weights)
        seconds, _, conditions = self._timed_pass(number % epochs)
        images = self.course.orders[number % epochs].size
        self.extra_rounds.append(Round(seconds=seconds, images=images, conditions=conditions))

    def time_inference(self, batch_size: int) -> None:
        """Answers to one batch of test images in memory, again and again."""
        self.observer.phase_started(self.cell, f"answering {batch_size}")
        first, *later = self.worker.infer(
            "test", batch_size, calls=INFERENCE_CALLS, seconds=INFERENCE_S
        )
        self.inference.append(Latency(batch_size=batch_size, first_s=first, seconds=tuple(later)))

    def profile(self) -> None:
        """Some steps more under the framework's own profiler."""
        self.observer.phase_started(self.cell, "profiling")
        self.worker.load_weights(self.course.weights)
        steps = slice(0, PROFILED_STEPS)
        self.operations = self.worker.profile(
            self.course.orders[0][steps], self.course.rates[0][steps]
        )

    def finish(self) -> CellResult:
        """End the worker."""
        result = CellResult(
            cell=self.cell,
            started=self.started,
            phases=self.phases,
            epochs=tuple(self.epochs),
            test=self.score,
            identity=self.identity,
            parameters=self.parameters,
            adapted=self.adapted,
            facts=self.worker.facts(),
            peak_rss_bytes=self.peak_rss_bytes,
            extra_rounds=tuple(self.extra_rounds),
            inference=tuple(self.inference),
            operations=self.operations,
        )
        self.worker.stop()
        return result

    def _examples(self, logits: NDArray[np.floating], split: SplitReader) -> Examples | None:
        """Those of the group; where it has none yet, chosen by what this cell answers."""
        if self.showcase is None:
            return None
        if self.showcase.chosen is not None:
            return self.showcase.chosen
        chosen = choose(self.entry.task, logits, split.labels, split.group)
        return chosen if len(chosen.rows) else None

    def _shown(self, examples: Examples | None) -> dict[str, NDArray[Any]]:
        """The examples' pixels and class-activation maps, as fields of :class:`CellArrays`."""
        if examples is None:
            return {}
        maps = self.worker.activation_maps("test", examples.rows, examples.outputs)
        if maps.ndim != 3 or len(maps) != len(examples.rows):
            raise WorkerError(
                f"{self.spec.name} returned activation maps of shape {maps.shape} "
                f"for {len(examples.rows)} images"
            )
        with open_dataset(Path(self.entry.path), memory_budget=0) as data:
            images = data.split("test").images(examples.rows)
        return {
            "example_rows": examples.rows,
            "example_outputs": examples.outputs,
            "example_images": images,
            "example_maps": maps,
        }

    @property
    def _threads(self) -> int:
        return self.folder.manifest.experiment.threads

    def _positive_weights(self, training: Training) -> tuple[float, ...]:
        if training.positive_weights == "none":
            return ()
        with open_dataset(Path(self.entry.path), memory_budget=0) as data:
            return balancing_weights(data.split("train").labels)

    def _predict(self, name: str) -> tuple[float, NDArray[np.floating], SplitReader]:
        """Seconds, logits and the labels and groups of a split."""
        seconds, logits = self.worker.predict(name)
        # A budget of nothing: the pixels stay on the disk, this process wants labels only.
        with open_dataset(Path(self.entry.path), memory_budget=0) as data:
            split = data.split(name)
        wanted = (len(split), len(self.entry.classes))
        if logits.shape != wanted:
            raise WorkerError(
                f"{self.spec.name} returned logits of shape {logits.shape}, not {wanted}"
            )
        return seconds, logits, split


def _first_of(moves: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    return None if moves is None else moves[:1]


def _cold_caches(folder: str) -> dict[str, str]:
    """Settings under which a framework compiles from nothing, so that its cost is seen."""
    return {"TORCHINDUCTOR_CACHE_DIR": folder, "JAX_ENABLE_COMPILATION_CACHE": "false"}

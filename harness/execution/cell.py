"""Training one cell: from a new process to a result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Task
from harness.backends.registry import BackendSpec
from harness.config import Training
from harness.data.hdf5 import SplitReader, open_dataset
from harness.errors import WorkerError
from harness.execution.inputs import Course
from harness.execution.observer import Observer
from harness.measure.conditions import Conditions, watching
from harness.measure.metrics import evaluate
from harness.measure.operations import Operation
from harness.measure.peak import Gauge
from harness.measure.warmup import WarmUp, until_steady
from harness.plan import Cell
from harness.protocol.positives import balancing_weights
from harness.protocol.weights import Origin, digest, save_weights
from harness.results.folder import CellArrays, RunFolder
from harness.results.records import CellResult, Epoch, Identity, Latency, Phases, Round, Score
from harness.worker import Worker


def now() -> str:
    """The present moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class CellRun:
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
        self.gauge = gauge
        self.cpus = cpus
        self.observer = observer
        self.entry = folder.manifest.datasets[cell.dataset]
        self.ended = False
        self.phases: Phases | None = None
        self.warm_up: WarmUp | None = None
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
        import_s, build_s = self._start(stack)
        first_step_s, first_predict_s = self._compile()
        self.phases = Phases(
            start_s=self.worker.start_s,
            import_s=import_s,
            build_s=build_s,
            first_step_s=first_step_s,
            first_predict_s=first_predict_s,
        )
        self.warm_up = self._warm_up()
        self.worker.load_weights(self.course.weights)  # the warm-up has trained: start over

    def _start(self, stack: ExitStack) -> tuple[float, float]:
        """A process with the framework, the network and its initial weights.

        Returns the seconds of the import and of building.
        """
        experiment = self.folder.manifest.experiment
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
        self.start_weights = digest(
            {name: array.astype(np.float32) for name, array in echoed.items()}
        )
        return import_s, build_s

    def _compile(self) -> tuple[float, float]:
        """Compile what training and evaluation need; seconds of the first of each."""
        self.observer.phase_started(self.cell, "compiling")
        first_step_s, _ = self.worker.train_epoch(
            self.course.orders[0][:1], self.course.rates[0][:1], _first(self.course.moves[0], 1)
        )
        return first_step_s, self.worker.warm_up_prediction("val")

    def _warm_up(self) -> WarmUp:
        """Run everything that will be timed, until training is steady; compile nothing later."""
        self.observer.phase_started(self.cell, "warming up")
        order, rates, moves = self.course.orders[0], self.course.rates[0], self.course.moves[0]
        self.worker.warm_up_prediction("test")
        multiple = self.worker.prepare_training(order, moves)

        def train(steps: int) -> float:
            return self.worker.train_epoch(order[:steps], rates[:steps], _first(moves, steps))[0]

        warm_up = until_steady(train, len(order), multiple)
        self.worker.forbid_compilation()
        return warm_up

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
        """Evaluate on the test split; keep predictions and weights."""
        self.identity = self._identity()
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
        self.folder.write_arrays(
            self.cell,
            CellArrays(
                step_losses=np.concatenate(self.losses),
                test_logits=logits,
                test_labels=split.labels,
                test_groups=split.group,
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

    def _identity(self) -> Identity:
        """Digests of what the worker received, which must be what was sent.

        Raises:
            WorkerError: something else arrived.
        """
        identity = Identity(
            data=self.worker.data_sha256(),
            initial_weights=self.start_weights,
            **self.worker.received()._asdict(),
        )
        sent = {"data": self.entry.sha256, **self.course.digests()._asdict()}
        for item, wanted in sent.items():
            if getattr(identity, item) != wanted:
                name = item.replace("_", " ")
                raise WorkerError(f"what reached {self.spec.name} is not the {name} that was sent")
        return identity

    def time_round(self, number: int) -> None:
        """One more round for the clock alone: the first epochs over again, from the start."""
        epochs = len(self.course.orders)
        if number % epochs == 0:
            self.observer.phase_started(self.cell, "timing")
            self.worker.load_weights(self.course.weights)
        seconds, _, conditions = self._timed_pass(number % epochs)
        images = self.course.orders[number % epochs].size
        self.extra_rounds.append(Round(seconds=seconds, images=images, conditions=conditions))

    def finish(self) -> CellResult:
        """End the worker."""
        result = CellResult(
            cell=self.cell,
            started=self.started,
            phases=self.phases,
            warm_up=self.warm_up,
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


def _first(moves: NDArray[np.int64] | None, steps: int) -> NDArray[np.int64] | None:
    return None if moves is None else moves[:steps]


def _cold_caches(folder: str) -> dict[str, str]:
    """Settings under which a framework compiles from nothing, so that its cost is seen."""
    return {"TORCHINDUCTOR_CACHE_DIR": folder, "JAX_ENABLE_COMPILATION_CACHE": "false"}

"""Training one cell: from a new process to a result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import TrainingJob
from harness.backends.spec import BackendSpec
from harness.config import Training
from harness.data.reader import SplitReader, open_dataset
from harness.errors import (
    BenchError,
    DivergedError,
    ProbeError,
    WorkerError,
    WorkerTimeoutError,
)
from harness.execution.caches import compared, compile_cache, snapshot
from harness.execution.inputs import TrainingInputs, images_digest
from harness.execution.observer import Observer
from harness.execution.stop import Stop
from harness.execution.worker import Worker
from harness.measure.conditions import Conditions, is_disturbed, watching
from harness.measure.probe import MachineProbe
from harness.measure.warmup import WarmUp, until_steady
from harness.plan import Cell
from harness.protocol.optimizer import same_arrays
from harness.protocol.positives import balancing_weights
from harness.protocol.received import Digests, Received
from harness.protocol.weights import Origin, digest, read_weights, save_weights
from harness.results.checkpoint import Checkpoint, Progress
from harness.results.folder import CellArrays, RunFolder
from harness.results.records import (
    CellResult,
    Epoch,
    Extra,
    FinalScore,
    Identity,
    Phases,
    Round,
    WarmStart,
)
from harness.stats.metrics import evaluate

PASS_LIMIT_FACTOR = 10.0
"""A pass over a split may take so many times what the slowest before it suggests,"""
PASS_LIMIT_S = 600.0
"""and at least so long."""


def now() -> str:
    """The present moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class CellRun:
    """One cell on its way from a new process to a result. Use as a context manager.

    ``result`` is there, and on disk, as soon as the training has ended, well or not. Where an
    earlier run has left one, only its missing extras are measured. ``resume_after``: the epoch of
    whose checkpoint training continues; 0: it starts anew.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        spec: BackendSpec,
        cell: Cell,
        inputs: TrainingInputs,
        parameters: int,
        adapted: tuple[str, ...],
        extras: tuple[str, ...],
        session: str,
        probe: MachineProbe | None,
        cpus: tuple[int, ...],
        observer: Observer,
        resume_after: int = 0,
        stop: Stop | None = None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.cell = cell
        self.inputs = inputs
        self.parameters = parameters
        self.adapted = adapted
        self.extras = extras
        self.session = session
        self.probe = probe
        self.cpus = cpus
        self.observer = observer
        self._stop = stop or Stop()
        self.entry = folder.manifest.datasets[cell.dataset]
        self.limits = folder.manifest.experiment.timeout
        self.phases: Phases | None = None
        self.warm_up: WarmUp | None = None
        self.identity: Identity | None = None
        self.facts: dict[str, str] = {}
        self.epochs: list[Epoch] = []
        self.losses: list[NDArray[np.float64]] = []
        self.earlier: dict[str, int] = {}
        """Sessions before this one, and how many of ``epochs`` were trained in each."""
        self.result: CellResult | None = None
        kept = folder.read_result(cell)
        if kept is not None and kept.status == "ok":
            again = {name: Extra() for name in kept.unfinished}
            self.result = kept.model_copy(update={"extras": kept.extras | again})
        self._checkpoint = folder.read_checkpoint(cell, resume_after) if resume_after else None
        """What this session goes on from."""
        if self._checkpoint is not None:
            self._check_fits(self._checkpoint)
            self.epochs = list(self._checkpoint.progress.epochs)
            self.losses = [self._checkpoint.step_losses]
            self.earlier = dict(self._checkpoint.progress.sessions)
        self._saved = len(self.epochs)
        """Epochs that the checkpoint on disk has."""
        self._sent = Received()
        """What this session has trained on."""
        self._resources = ExitStack()
        self._worker: Worker | None = None
        self._caches: Path | None = None
        """Folder of what the worker compiles."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.__exit__(kind, error, traceback)

    @property
    def worker(self) -> Worker:
        assert self._worker is not None
        return self._worker

    @property
    def epoch_count(self) -> int:
        return len(self.inputs.orders)

    @property
    def pending(self) -> tuple[str, ...]:
        """Extras that are still to be measured."""
        extras = self.result.extras if self.result is not None else {}
        return tuple(name for name, extra in extras.items() if extra.state == "missing")

    def attempt(self, action: Callable[..., None], *arguments: object) -> None:
        """Do ``action``, a part of the training, unless there is a result.

        A worker that fails makes a result of it, and is ended at once.
        """
        if self.result is not None:
            return
        try:
            action(*arguments)
        except WorkerError as error:
            self._close(error)
            self._stop.check()
            self.result = self._result(status=_status(error), error=str(error))
            self.folder.write_result(self.result)
            if self.result.status == "diverged":  # and would again
                self.folder.remove_checkpoints(self.cell)
            self.observer.cell_ended(self.result, resumed=False)

    def attempt_extra(self, name: str, action: Callable[..., None], *arguments: object) -> None:
        """Do ``action``, a part of what ``name`` measures, while that is pending.

        A worker that fails loses this measurement alone; another takes its place.
        """
        if name not in self.pending:
            return
        try:
            self._ensure_worker()
            action(self, *arguments)
        except WorkerError as error:
            self.end_extra(name, "failed", str(error))
        self.observer.work_ended(self.cell, name)

    def end_extra(self, name: str, state: Literal["done", "failed"], message: str = "") -> None:
        """Keep that the measurement ``name`` ended, if it was pending."""
        if name in self.pending:
            assert self.result is not None
            extra = Extra(state=state, message=message, session=self.session)
            self.update(extras=self.result.extras | {name: extra})

    def update(self, *, write: bool = True, **fields: object) -> None:
        """Change these fields of the result."""
        assert self.result is not None
        self.result = self.result.model_copy(update=fields)
        if write:
            self.folder.write_result(self.result)

    def finish(self) -> CellResult:
        """End the worker."""
        assert self.result is not None
        if self.result.status == "ok":
            self._close()
            self.observer.cell_ended(self.result, resumed=False)
        return self.result

    def _close(self, error: WorkerError | None = None) -> None:
        """End the worker and remove what it compiled; by force after an ``error``."""
        self._resources.__exit__(type(error) if error else None, error, None)
        self._resources = ExitStack()
        self._caches = None

    def start_warm(self) -> WarmStart:
        """A second start beside the first, which waits, with the caches that the first filled."""
        assert self._caches is not None
        before = snapshot(self._caches)
        first, self._resources = (self._worker, self._resources), ExitStack()
        try:
            with self._resources:
                phases = self._begin()
        finally:
            self._worker, self._resources = first
        return WarmStart(phases=phases, caches=compared(before, snapshot(self._caches)))

    def open(self) -> None:
        """Start the worker, and measure everything that happens once."""
        self.started = now()
        self.phases = self._begin()
        self.observer.cell_started(self.cell, self.phases)
        self.facts = self.worker.facts()
        if self.probe is None:
            batch = self.inputs.orders[0].shape[1]
            self._warm_up_s_per_image = self.phases.first_step_s / batch  # at most
        else:
            self.warm_up = self._warm_up()
        self.worker.load_weights(self.inputs.weights)  # what was compiled has trained: start over
        if self._checkpoint is not None:
            self._restore(self._checkpoint)
            self._checkpoint = None  # its arrays may be large
        self.observer.work_ended(self.cell, "start-up")

    def _check_fits(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint that is not of this training, as far as its shapes tell.

        Raises:
            BenchError: says which.
        """
        epochs, steps = self.inputs.rates.shape
        shapes = {name: array.shape for name, array in self.inputs.weights.items()}
        trained = {name: array.shape for name, array in checkpoint.weights.items()}
        done = len(checkpoint.progress.epochs)
        if trained != shapes or done > epochs or checkpoint.step_losses.shape != (done * steps,):
            raise BenchError(
                f"the checkpoint of {self.cell} in {self.folder.path} is of another training: "
                "delete it to train the cell from its beginning"
            )

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take over weights and optimiser state."""
        self.observer.phase_started(self.cell, f"resuming after epoch {len(self.epochs)}")
        self.worker.load_weights(checkpoint.weights)
        self.worker.load_optimizer(checkpoint.optimizer)
        echoed = self.worker.save_optimizer()
        if (
            echoed is None
            or not echoed.equals(checkpoint.optimizer)
            or not same_arrays(self.worker.save_weights(), checkpoint.weights)
        ):
            raise WorkerError(f"{self.spec.name} did not take over its checkpoint")

    def save_checkpoint(self) -> None:
        """Keep the state after the last epoch, where the backend offers that and it is new.

        Earlier checkpoints stay until :meth:`remove_earlier_checkpoints`.
        """
        if self._saved == len(self.epochs):
            return
        self._check_received()
        self.worker.limit_s = self.limits.compile
        optimizer = self.worker.save_optimizer()
        if optimizer is None:
            return
        here = len(self.epochs) - sum(self.earlier.values())
        progress = Progress(
            cell=self.cell,
            started=self.started,
            sessions=self.earlier | {self.session: here},
            epochs=tuple(self.epochs),
            optimizer_steps=optimizer.steps,
        )
        self.folder.write_checkpoint(
            Checkpoint(
                progress=progress,
                step_losses=np.concatenate(self.losses),
                weights=self.worker.save_weights(),
                optimizer=optimizer,
            )
        )
        self._saved = len(self.epochs)

    def remove_earlier_checkpoints(self) -> None:
        """All but the last; once every cell of the group has saved that."""
        self.folder.remove_checkpoints(self.cell, but=self._saved)

    def start_anew(self) -> Phases:
        """A new process in place of the present one, warmed up, with the initial weights."""
        self._close()
        phases = self._begin()
        self._warm_up()
        self.worker.load_weights(self.inputs.weights)
        return phases

    def _begin(self) -> Phases:
        """Start a process and compile; what each step took."""
        import_s, build_s = self._start()
        first_step_s, first_predict_s = self._compile()
        return Phases(
            start_s=self.worker.start_s,
            import_s=import_s,
            build_s=build_s,
            first_step_s=first_step_s,
            first_predict_s=first_predict_s,
        )

    def _start(self) -> tuple[float, float]:
        """A process with the framework, the network and its initial weights.

        Returns the seconds of the import and of building.
        """
        experiment = self.folder.manifest.experiment
        job = TrainingJob(
            model=self.cell.model,
            dataset=Path(self.entry.path),
            optimizer=experiment.training.optimizer,
            precision=experiment.training.precision,
            threads=experiment.threads,
            device=experiment.device,
            positive_weights=self._positive_weights(experiment.training),
        )
        self.observer.phase_started(self.cell, "importing")
        # Of a start that is not timed nothing need be cold: what was compiled before is taken.
        timed = not experiment.accuracy_only
        if timed and self._caches is None:
            self._caches = self._resources.enter_context(compile_cache())
        self._worker = self._resources.enter_context(
            Worker(
                self.spec,
                threads=job.threads,
                cpus=self.cpus,
                log=self._resources.enter_context(self.folder.log_path(self.cell).open("ab")),
                environment=self.spec.caches(self._caches) if self._caches else {},
                limit_s=self.limits.start,
            )
        )
        self._stop.show(self._worker)
        import_s = self.worker.import_framework()
        self.observer.phase_started(self.cell, "building")
        build_s, echoed = self.worker.build(job, self.inputs.weights)
        for name, sent in self.inputs.weights.items():
            if name not in echoed or not np.array_equal(echoed[name], sent):
                raise WorkerError(f"{self.spec.name} did not take over the weights of {name}")
        self.start_weights = digest(
            {name: array.astype(np.float32) for name, array in echoed.items()}
        )
        return import_s, build_s

    def _compile(self) -> tuple[float, float]:
        """Compile what training and evaluation need; seconds of the first of each."""
        self.observer.phase_started(self.cell, "compiling")
        self.worker.limit_s = self.limits.compile
        first_step_s, _ = self.worker.train_epoch(
            self.inputs.orders[0][:1],
            self.inputs.rates[0][:1],
            _first(self.inputs.augmentation[0], 1),
        )
        return first_step_s, self.worker.warm_up_prediction("val")

    def _warm_up(self) -> WarmUp:
        """Run everything that will be timed, until training is steady; compile nothing later."""
        self.observer.phase_started(self.cell, "warming up")
        order, rates, augmentation = (
            self.inputs.orders[0],
            self.inputs.rates[0],
            self.inputs.augmentation[0],
        )
        self.worker.warm_up_prediction("test")
        multiple = self.worker.prepare_training(order, augmentation)

        def train(steps: int) -> float:
            return self.worker.train_epoch(
                order[:steps], rates[:steps], _first(augmentation, steps)
            )[0]

        warm_up = until_steady(train, len(order), multiple)
        self.worker.forbid_compilation()
        self._warm_up_s_per_image = warm_up.seconds / (warm_up.steps * order.shape[1])
        return warm_up

    def _ensure_worker(self) -> None:
        """A worker that holds the trained weights, in place of one that is gone or never was."""
        if self._worker is not None and self._worker.alive:
            return
        self._close()
        try:
            self._start()
            self._compile()
            self._warm_up()
            self.worker.load_weights(read_weights(self.folder.weights_path(self.cell)).weights)
        except WorkerError as error:
            self._close(error)
            raise

    def train_epoch(self, number: int) -> None:
        """One round: train, then evaluate on the validation split, timed apart.

        Nothing where an earlier session has trained that epoch.
        """
        if number < len(self.epochs):
            return
        order = self.inputs.orders[number]
        seconds, losses, conditions = self._timed_pass(number)
        if losses.shape != (len(order),):
            raise WorkerError(
                f"{self.spec.name} returned losses of shape {losses.shape} for {len(order)} steps"
            )
        if len(wrong := _not_finite(losses)):
            step = int(wrong[0])
            raise DivergedError(
                f"the loss of step {step + 1} of epoch {number + 1} is {losses[step]}"
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
            disturbed=is_disturbed(seconds, conditions, self._threads),
        )
        self._sent.add(order, self.inputs.rates[number], self.inputs.augmentation[number])
        self.losses.append(losses)
        self.epochs.append(epoch)
        self.observer.epoch_ended(self.cell, number + 1, epoch)

    def time_round(self, number: int) -> Round:
        """Train as in epoch ``number``, for the clock alone."""
        seconds, _, conditions = self._timed_pass(number)
        return Round(
            seconds=seconds,
            images=self.inputs.orders[number].size,
            conditions=conditions,
            disturbed=is_disturbed(seconds, conditions, self._threads),
        )

    def timed_here(self, turn: int) -> Epoch | Round | None:
        """Round ``turn`` of the result, if this session measured it and the training succeeded."""
        if self.result is None or self.result.status != "ok" or turn >= len(self.result.rounds):
            return None
        return self.result.numbered.get(self.session, {}).get(turn)

    def time_again(self, turn: int) -> Round | None:
        """Measure round ``turn`` of the result once more; None where the worker fails."""
        self.observer.phase_started(self.cell, "repeating")
        try:
            self._ensure_worker()
            self.worker.load_weights(self.inputs.weights)
            timed = self.time_round(turn % self.epoch_count)
        except WorkerError as error:
            self._close(error)
            return None
        self.observer.work_ended(self.cell, "repeats")
        return timed

    def note_repeat(self, turn: int, again: Round | None) -> None:
        """Count that round ``turn`` was measured again; ``again`` takes its place, if given."""
        assert self.result is not None
        old = self.result.rounds[turn]
        changes: dict[str, Any] = {"repeats": old.repeats + 1}
        if again is not None:
            names = ("seconds", "conditions", "disturbed")
            changes |= {name: getattr(again, name) for name in names}
        field = "epochs" if turn < len(self.result.epochs) else "extra_rounds"
        index = turn if field == "epochs" else turn - len(self.result.epochs)
        rounds = list(getattr(self.result, field))
        rounds[index] = rounds[index].model_copy(update=changes)
        fields: dict[str, Any] = {field: tuple(rounds)}
        self.update(**fields)

    def _timed_pass(self, number: int) -> tuple[float, NDArray[np.float64], Conditions | None]:
        """Train on the batches of epoch ``number``; seconds, losses, and the machine meanwhile."""
        self.worker.limit_s = self._pass_limit(self.inputs.orders[number].size)
        inputs = (
            self.inputs.orders[number],
            self.inputs.rates[number],
            self.inputs.augmentation[number],
        )
        if self.probe is None:  # no speed is measured
            return *self.worker.train_epoch(*inputs), None
        try:
            speed = self.probe.gemm_gflops(self.folder.manifest.experiment.training.precision)
        except ProbeError:
            return *self.worker.train_epoch(*inputs), None
        with watching(self.worker.pid, self.cpus[: self._threads], speed) as watch:
            seconds, losses = self.worker.train_epoch(*inputs)
        return seconds, losses, watch.conditions

    def _pass_limit(self, images: int) -> float:
        """Seconds that a pass over so many images may take."""
        if self.limits.epoch is not None:
            return self.limits.epoch
        epochs = self.epochs or (self.result.epochs if self.result is not None else ())
        slowest = max(
            (epoch.seconds / epoch.images for epoch in epochs),
            default=self._warm_up_s_per_image,
        )
        return max(PASS_LIMIT_S, PASS_LIMIT_FACTOR * slowest * images)

    def test(self) -> None:
        """Evaluate on the test split; keep predictions, weights and the result."""
        seconds, logits, split = self._predict("test")
        weights = self.worker.save_weights()
        for name, array in weights.items():
            if len(wrong := _not_finite(array)):
                raise DivergedError(f"after training a weight of {name} is {array.flat[wrong[0]]}")
        # Of the work measured, not of what follows.
        peak_rss_bytes = self.worker.peak_rss_bytes()
        # After what is timed: it reads all images.
        self.identity = self._identity()
        found = evaluate(self.entry.task, logits, split.labels)
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
            weights,
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
        score = FinalScore(
            examples=found.examples,
            correct=found.correct,
            accuracy=found.accuracy,
            loss=found.loss,
            auroc=found.auroc,
            seconds=seconds,
        )
        self.result = self._result(
            test=score,
            peak_rss_bytes=peak_rss_bytes,
            extras={name: Extra() for name in self.extras},
        )
        self.folder.write_result(self.result)
        self.folder.remove_checkpoints(self.cell)

    def _identity(self) -> Identity:
        """Digests of what the worker received, which must be what was sent.

        Of a training that went on from a checkpoint every session has compared its own part.

        Raises:
            WorkerError: something else arrived.
        """
        received = self._check_received()
        data, images = self.worker.data_sha256(), self.worker.images_digest()
        sent = {"data": (data, self.entry.sha256)}
        if images:
            sent["images"] = (images, images_digest(Path(self.entry.path), self.entry.sha256))
        for item, (arrived, wanted) in sent.items():
            if arrived != wanted:
                raise WorkerError(f"{self.spec.name} has other {item} than what was sent to it")
        whole = self.inputs.digests() if self.earlier else received
        return Identity(
            data=data, images=images, initial_weights=self.start_weights, **whole._asdict()
        )

    def _check_received(self) -> Digests:
        """Digests of what reached the worker in this session.

        Raises:
            WorkerError: it is not what was sent.
        """
        received, sent = self.worker.received(), self._sent.digests()
        for item, wanted in sent._asdict().items():
            if getattr(received, item) != wanted:
                name = item.replace("_", " ")
                raise WorkerError(f"{self.spec.name} has other {name} than what was sent to it")
        return received

    def _result(self, **fields: Any) -> CellResult:
        return CellResult(
            cell=self.cell,
            session=self.session,
            started=self.started,
            earlier=self.earlier,
            phases=self.phases,
            warm_up=self.warm_up,
            epochs=tuple(self.epochs),
            identity=self.identity,
            parameters=self.parameters,
            adapted=self.adapted,
            facts=self.facts,
            **fields,
        )

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
        # A budget of nothing: the pixels stay on the disk, this process wants labels only.
        with open_dataset(Path(self.entry.path), memory_budget=0) as data:
            split = data.split(name)
        # It may compile for another size of batch.
        self.worker.limit_s = self.limits.epoch or max(
            self.limits.compile, self._pass_limit(len(split))
        )
        seconds, logits = self.worker.predict(name)
        wanted = (len(split), len(self.entry.classes))
        if logits.shape != wanted:
            raise WorkerError(
                f"{self.spec.name} returned logits of shape {logits.shape}, not {wanted}"
            )
        if len(wrong := _not_finite(logits)):
            image, output = np.unravel_index(wrong[0], logits.shape)
            raise DivergedError(
                f"a logit of image {image} of the {name} split is {logits[image, output]}"
            )
        return seconds, logits, split


def _not_finite(array: NDArray[np.floating]) -> NDArray[np.intp]:
    """Flat indices of what is NaN or infinite."""
    return np.flatnonzero(~np.isfinite(array))


def _status(error: WorkerError) -> Literal["failed", "timeout", "diverged"]:
    match error:
        case WorkerTimeoutError():
            return "timeout"
        case DivergedError():
            return "diverged"
    return "failed"


def _first(augmentation: NDArray[np.int64] | None, steps: int) -> NDArray[np.int64] | None:
    return None if augmentation is None else augmentation[:steps]

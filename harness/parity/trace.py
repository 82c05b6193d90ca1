"""What a framework computes from given weights and batches, stage by stage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from harness.backends.base import TrainingJob
from harness.backends.spec import BackendSpec
from harness.config import Optimizer
from harness.cpus import permitted_cpus
from harness.data.locate import resolve
from harness.data.reader import DEFAULT_MEMORY_BUDGET, open_dataset
from harness.errors import BenchError, WorkerError
from harness.execution.worker import Worker
from harness.models.card import ModelCard
from harness.plugins import find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order, steps_per_epoch
from harness.protocol.random import stream
from harness.protocol.weights import Weights, initial_weights
from harness.reference.training import Reference

CHECKPOINTS = (1, 2, 3, 10, 100)
"""Steps after which parameters and running statistics are compared. Each is trained from the start
in one call, as an epoch is: what reads the rates or the batches of a call wrongly shows only
there, and so does what is not forgotten when weights are loaded again."""
EARLY = 10
"""Steps whose losses are compared; training amplifies rounding, and later ones show that alone."""
EPOCHS = 3
"""Calls of the trajectory: consecutive epochs, with predictions and inference between them."""
EPOCH_STEPS = 12
"""Steps of each at most."""
RELOADED = 2
"""The epoch after which weights are saved and loaded again."""
COMPARED_IMAGES, LEAST_COMPARED = 1_000, 20
"""Images of a split whose predictions are compared, drawn at random, ..."""
LAST_IMAGES = 8
"""... and the last, which are in a batch that is not full."""
PREDICTION_FLOPS, SPLIT_FLOPS = 2e10, 1e12
"""Operations that the reference does for the predictions of a split, and a framework for all of
it; a split that needs more is not predicted."""
BRIEF_SPLIT_FLOPS = 1e10
"""The latter in a brief proof: some seconds."""
INFERENCE = ((0, 1), (1, 6), (6, 11), (2, 3))
"""Test images that inference gets in one call, from and to: sizes come again with other images."""
STEP_FLOPS, TRAINING_FLOPS = 5e10, 1e12
"""Operations of one step, and of all, that the reference does in reasonable time. Of networks that
need more, a plan takes fewer images a batch and fewer steps, ..."""
LEAST_IMAGES, LEAST_STEPS = 4, 3
"""... but not fewer than these."""
DEEP = 50
"""Arrays of parameters from which a network takes compilers minutes, for every size of a batch.
A brief proof of one has neither predictions nor inference nor trajectory."""
FORWARD = ("logits", "loss", "gradients")


class Subject(Protocol):
    """What a proof asks of a backend, in this process or in another."""

    def load_weights(self, weights: Weights) -> None: ...

    def save_weights(self) -> Weights: ...

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]: ...

    def predict_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]: ...

    def infer_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]: ...

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]: ...


class Remote:
    """A backend in a worker process, without the seconds that the worker measures."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.load_weights = worker.load_weights
        self.save_weights = worker.save_weights
        self.loss_and_gradients = worker.loss_and_gradients
        self.infer_examples = worker.inference_logits

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        return self.worker.train_epoch(order, rates, augmentation)[1]

    def predict_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]:
        """The whole split is predicted, as a run does."""
        return np.asarray(self.worker.predict(split)[1][examples])


@dataclass(frozen=True, kw_only=True)
class ProofEpoch:
    """One call of ``train_epoch``."""

    order: NDArray[np.int64]
    """(steps, B)"""
    rates: NDArray[np.float64]
    """(steps,)"""
    augmentation: NDArray[np.int64] | None
    """(steps, B, 3)"""


@dataclass(frozen=True, kw_only=True)
class ProofPlan:
    """What all are to compute."""

    model: str
    dataset: Path
    optimizer: Optimizer
    threads: int
    weights: Weights
    batches: NDArray[np.int64]
    """(steps, B): indices into the training split."""
    rates: NDArray[np.float64]
    """(steps,): no two alike. With one rate throughout, a velocity that holds the rate is the same
    rule as the protocol's, and a rate that comes a step late cannot be seen."""
    augmentation: NDArray[np.int64]
    """(1, B, 3): of the images of the first batch, as in ``harness.protocol.augmentation``."""
    epochs: tuple[ProofEpoch, ...]
    """The trajectory: trained one after the other from the weights."""
    examples: Mapping[str, NDArray[np.int64]]
    """By split, the images whose predictions are compared, in ascending order."""
    inference: tuple[NDArray[np.int64], ...]
    """The test images that inference gets: (B,) of each call."""
    positive_weights: tuple[float, ...] = ()
    """What the positives of each label count; none means 1."""
    memory_budget: int = DEFAULT_MEMORY_BUDGET
    """Bytes that images may take in memory; 0: all are read from the disk."""

    @property
    def checkpoints(self) -> tuple[int, ...]:
        most = len(self.batches)
        return tuple(dict.fromkeys(min(steps, most) for steps in (*CHECKPOINTS, most)))

    @property
    def early(self) -> int:
        """Steps whose losses are compared."""
        return max(steps for steps in self.checkpoints if steps <= EARLY)

    @property
    def stages(self) -> tuple[str, ...]:
        """In the order of computation: of two that deviate the first is nearer to the cause."""
        steps = tuple(f"step {steps}" for steps in self.checkpoints)
        predictions = ("predictions",) if self.examples else ()
        inference = ("inference",) if self.inference else ()
        single = (*FORWARD, *steps, "losses", "augmentation", *predictions, *inference)
        trajectory = (
            " ".join(filter(None, (f"epoch {number}", part)))
            for number in range(1, len(self.epochs) + 1)
            for part in ("losses", "", *predictions, *inference)
        )
        return (*single, *trajectory)

    def job(self, precision: str) -> TrainingJob:
        return TrainingJob(
            model=self.model,
            dataset=self.dataset,
            optimizer=self.optimizer,
            precision="float64" if precision == "float64" else "float32",
            threads=self.threads,
            positive_weights=self.positive_weights,
            memory_budget=self.memory_budget,
        )


Stages = Mapping[str, Weights]
"""By stage the arrays by name: parameters, splits, batches; logits, loss and losses have none."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one framework computed."""

    stages: Stages
    repeated: float
    """Largest relative difference between two calls with the same batch."""
    losses: NDArray[np.float64]
    """(steps,)"""
    drift: Mapping[str, float] = field(default_factory=dict)
    """Of the reference: by stage, how far rounding alone may lead."""


def make_plan(
    model: str,
    dataset: str | Path,
    *,
    data_dir: Path,
    optimizer: Optimizer,
    batch_size: int,
    steps: int,
    threads: int,
    seed: int = 0,
    weights: Weights | None = None,
    positive_weights: tuple[float, ...] = (),
    brief: bool = False,
) -> ProofPlan:
    """The weights and batches of seed ``seed``; the batches run on over epochs.

    Of a large network there are fewer steps, and batches of their first images: see
    :func:`affordable`. ``brief``: and fewer stages of a deep one, see :data:`DEEP`, and no
    predictions of the training split or of a large one.

    ``weights`` stand in for those that the protocol draws.

    Raises:
        BenchError: an unknown network, no such data set, or one that does not fit.
    """
    path = resolve(str(dataset), data_dir)
    card = find_model(model)
    with open_dataset(path, memory_budget=0) as data:
        examples = data.sizes["train"]
        if batch_size > examples:
            raise BenchError(
                f"batch size {batch_size} is larger than the {examples} training images of "
                f"{path}: choose a smaller --batch-size"
            )
        try:
            parameters = card.parameters(data.image_shape, data.outputs)
        except BenchError as error:
            raise BenchError(f"{path}: {error}") from error
        reach = max(1, min(data.image_shape[1:]) // 8)
        flops = card.forward_flops(data.image_shape, data.outputs)
        limit = BRIEF_SPLIT_FLOPS if brief else SPLIT_FLOPS
        predicted = {
            name: _compared_examples(count, flops, seed)
            for name, count in data.sizes.items()
            # A run predicts none of the images that it trains on.
            if count * flops <= limit and not (brief and name == "train")
        }
        tested = data.sizes["test"]
        inference = tuple(
            np.arange(start, min(stop, tested)) for start, stop in INFERENCE if start < tested
        )
        images, steps = affordable(card, data.image_shape, data.outputs, batch_size, steps)
    epochs = -(-steps // steps_per_epoch(examples, batch_size))
    orders = [epoch_order(examples, batch_size, seed, epoch) for epoch in range(epochs)]
    augmentation = epoch_augmentation(1, images, seed, 0, flip=True, shift=reach)
    assert augmentation is not None
    plan = ProofPlan(
        model=model,
        dataset=path,
        optimizer=optimizer,
        threads=threads,
        weights=perturbed(initial_weights(parameters, seed) if weights is None else weights, seed),
        batches=np.ascontiguousarray(np.concatenate(orders)[:steps, :images]),
        rates=optimizer.learning_rate * np.linspace(0.5, 1, steps),
        augmentation=augmentation,
        epochs=tuple(
            _epoch(number, min(steps, EPOCH_STEPS), examples, images, seed, reach, optimizer)
            for number in range(1, EPOCHS + 1)
        ),
        examples=predicted,
        inference=inference,
        positive_weights=positive_weights,
    )
    if brief and len(parameters) >= DEEP:
        return replace(plan, epochs=(), examples={}, inference=())
    return plan


def _compared_examples(count: int, flops: float, seed: int) -> NDArray[np.int64]:
    """Of ``count`` images those whose predictions are compared."""
    most = max(LEAST_COMPARED, min(COMPARED_IMAGES, int(PREDICTION_FLOPS / flops)))
    if count <= most:
        return np.arange(count)
    drawn = stream(seed, "compared", count).permutation(count - LAST_IMAGES)[: most - LAST_IMAGES]
    return np.concatenate([np.sort(drawn), np.arange(count - LAST_IMAGES, count)])


def _epoch(
    number: int,
    steps: int,
    examples: int,
    batch_size: int,
    seed: int,
    reach: int,
    optimizer: Optimizer,
) -> ProofEpoch:
    """Another order than any epoch before, lower learning rates, and augmentation from the second
    on."""
    each = steps_per_epoch(examples, batch_size)
    orders = [
        epoch_order(examples, batch_size, seed, 1_000 * number + part)
        for part in range(-(-steps // each))
    ]
    augmentation = epoch_augmentation(steps, batch_size, seed, number, flip=True, shift=reach)
    return ProofEpoch(
        order=np.concatenate(orders)[:steps],
        rates=optimizer.learning_rate * np.linspace(1, 0.5, steps) / number,
        augmentation=augmentation if number > 1 else None,
    )


def affordable(
    card: ModelCard, image_shape: tuple[int, int, int], outputs: int, batch_size: int, steps: int
) -> tuple[int, int]:
    """Images a batch and steps, no more than asked for, that the reference can train."""
    flops = card.training_flops(image_shape, outputs)
    images = min(batch_size, max(LEAST_IMAGES, int(STEP_FLOPS / flops)))
    return images, min(steps, max(LEAST_STEPS, int(TRAINING_FLOPS / (images * flops))))


def perturbed(weights: Weights, seed: int) -> Weights:
    """``weights`` where those arrays that hold one number throughout are moved a little from it.

    A bias of zero hides whether anybody adds it, and running statistics of zero and one whether
    anybody divides by them.
    """
    return {name: _perturbed(name, array, seed) for name, array in weights.items()}


def _perturbed(name: str, array: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    if np.ptp(array) > 0:
        return array
    draws = stream(seed, "parity", name).random(array.shape)
    return np.asarray(array + 0.2 * (draws - 0.4), array.dtype)  # of both signs, but not in mean


@contextmanager
def started(
    spec: BackendSpec, threads: int, environment: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """A worker process with its framework imported.

    Raises:
        WorkerError: the framework failed.
        BenchError: something a person must fix.
    """
    with _process(spec, threads, environment) as worker:
        worker.import_framework()
        yield worker


@contextmanager
def _process(
    spec: BackendSpec, threads: int, environment: Mapping[str, str] | None
) -> Iterator[Worker]:
    with (
        tempfile.TemporaryFile() as log,
        Worker(spec, threads=threads, log=log, environment=environment) as worker,
    ):
        yield worker


class Workers:
    """A process for each framework, started before it is needed or then, and kept until the end.

    Args:
        threads: of each.
        environment: variables that are set in each.
    """

    def __init__(self, threads: int, environment: Mapping[str, str] | None = None) -> None:
        self.threads = threads
        self.environment = environment
        self._running: dict[str, Worker] = {}
        self._importing: dict[str, Future[float]] = {}
        self._pool = ThreadPoolExecutor(len(permitted_cpus()))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for name, importing in self._importing.items():
            if not (importing.cancel() or importing.done()):
                self._running[name].abort()
        self._pool.shutdown()
        self._stack.close()

    def start(self, specs: Sequence[BackendSpec]) -> None:
        """Start the processes of ``specs``, which import their frameworks while this one goes on;
        what fails is said when the process is asked for."""
        for spec in (each for each in specs if each.name not in self._running):
            with suppress(WorkerError):
                worker = self._stack.enter_context(_process(spec, self.threads, self.environment))
                self._running[spec.name] = worker
                self._importing[spec.name] = self._pool.submit(worker.import_framework)

    def get(self, spec: BackendSpec) -> Worker:
        """The process of ``spec``, its framework imported; another one where it has ended.

        Raises:
            WorkerError: the framework failed.
            BenchError: something a person must fix.
        """
        if (importing := self._importing.get(spec.name)) is not None:
            try:
                importing.result()
            except (WorkerError, BenchError):
                del self._running[spec.name], self._importing[spec.name]
                raise
            del self._importing[spec.name]
        worker = self._running.get(spec.name)
        if worker is None or not worker.alive:
            worker = self._stack.enter_context(started(spec, self.threads, self.environment))
            self._running[spec.name] = worker
        return worker


def trace(worker: Worker, plan: ProofPlan, precision: str) -> Trace:
    """What the framework of ``worker`` computes.

    Raises:
        WorkerError: the framework failed.
        BenchError: something a person must fix.
    """
    worker.build(plan.job(precision), plan.weights)
    return follow(Remote(worker), plan)


def follow(subject: Subject, plan: ProofPlan) -> Trace:
    """All stages of ``plan`` as ``subject`` computes them."""
    found: dict[str, Weights] = {}
    losses: NDArray[np.float64] = np.empty(0)
    last = plan.stages[-1]
    for stage in plan.stages:
        if stage not in found:
            found |= compute(subject, plan, last if stage.startswith("epoch ") else stage)
        if stage.startswith("step "):
            losses = found.pop("all losses")[""].astype(np.float64)
    again = compute(subject, plan, "logits")
    return Trace(
        stages={stage: found[stage] for stage in plan.stages},
        repeated=max(_largest_difference(again[stage], found[stage]) for stage in FORWARD),
        losses=losses,
    )


def trace_reference(plan: ProofPlan, precision: str = "float64") -> Trace:
    """What the NumPy reference computes in float64, in this process.

    Its ``drift`` is how far it deviates from itself when the weights are perturbed by the rounding
    error of ``precision``: no framework that computes in it can be expected to be nearer.
    """
    with threadpool_limits(plan.threads):
        stages, losses = _reference_stages(plan)
        rounded, _ = _reference_stages(replace(plan, weights=_rounded(plan.weights, precision)))
    drift = {stage: _largest_difference(rounded[stage], arrays) for stage, arrays in stages.items()}
    return Trace(stages=stages, repeated=0.0, losses=losses, drift=drift)


def _reference_stages(plan: ProofPlan) -> tuple[Stages, NDArray[np.float64]]:
    """All stages, and the losses of all steps.

    The reference is deterministic and its state is known, so that every step is trained once only.
    """
    reference = Reference(plan.job("float64"))
    found = dict(compute(reference, plan, "logits"))
    reference.load_weights(plan.weights)
    losses = []
    for start, stop in pairwise((0, *plan.checkpoints)):
        steps = slice(start, stop)
        losses.append(reference.train_epoch(plan.batches[steps], plan.rates[steps]))
        found[f"step {stop}"] = reference.save_weights()
    all_losses = np.concatenate(losses)
    found["losses"] = {"": all_losses[: plan.early]}
    for stage in plan.stages:
        if stage not in found:
            last = plan.stages[-1] if stage.startswith("epoch ") else stage
            found |= compute(reference, plan, last)
    return {stage: found[stage] for stage in plan.stages}, all_losses


def _rounded(weights: Weights, precision: str) -> Weights:
    """``weights`` in float64, off by as much as rounding to ``precision`` a few times."""
    epsilon = float(np.finfo(precision).eps)
    return {
        name: array * (1 + 4 * epsilon * (stream(0, "rounding", name).random(array.shape) - 0.5))
        for name, array in weights.items()
    }


def compute(subject: Subject, plan: ProofPlan, stage: str) -> dict[str, Weights]:
    """``stage``, from the weights of the plan, with those others that come along with it."""
    subject.load_weights(plan.weights)
    if stage in FORWARD:
        logits, loss, gradients = subject.loss_and_gradients(plan.batches[0])
        return {"logits": {"": logits}, "loss": {"": np.array(loss)}, "gradients": gradients}
    if stage == "predictions":
        return {stage: _predictions(subject, plan)}
    if stage == "inference":
        return {stage: _inference(subject, plan)}
    if stage.startswith("epoch "):
        return _trajectory(subject, plan, stage)
    if stage == "augmentation":
        subject.train_epoch(plan.batches[:1], plan.rates[:1], plan.augmentation)
        return {stage: subject.save_weights()}
    steps = plan.early if stage == "losses" else int(stage.removeprefix("step "))
    losses = subject.train_epoch(plan.batches[:steps], plan.rates[:steps])
    found: dict[str, Weights] = {f"step {steps}": subject.save_weights()}
    found["all losses"] = {"": losses}
    if steps >= plan.early:  # of fewer steps they would be another array
        found["losses"] = {"": losses[: plan.early]}
    return found


def _trajectory(subject: Subject, plan: ProofPlan, last: str) -> dict[str, Weights]:
    """The epochs of ``plan`` up to the stage ``last``, with all stages before it."""
    found: dict[str, Weights] = {}
    for number, epoch in enumerate(plan.epochs, start=1):
        name = f"epoch {number}"
        losses = subject.train_epoch(epoch.order, epoch.rates, epoch.augmentation)
        found |= {f"{name} losses": {"": losses}, name: subject.save_weights()}
        # Up to the end even if only the losses are asked for: what else an epoch does shows later.
        if plan.examples:
            found[f"{name} predictions"] = _predictions(subject, plan)
        if plan.inference:
            found[f"{name} inference"] = _inference(subject, plan)
        if last in found:
            break
        if number == RELOADED:
            subject.load_weights(subject.save_weights())
    return found


def _predictions(subject: Subject, plan: ProofPlan) -> Weights:
    return {split: subject.predict_examples(split, rows) for split, rows in plan.examples.items()}


def _inference(subject: Subject, plan: ProofPlan) -> Weights:
    calls = enumerate(plan.inference, start=1)
    return {f"call {n}": subject.infer_examples("test", rows) for n, rows in calls}


def _largest_difference(one: Weights, other: Weights) -> float:
    """Relative to the largest magnitude of each array of ``other``."""
    if one.keys() != other.keys():
        return np.inf
    scales = (float(np.abs(array).max(initial=0)) or 1.0 for array in other.values())
    apart = (float(np.abs(one[name] - other[name]).max(initial=0)) for name in other)
    return max((a / s for a, s in zip(apart, scales, strict=True)), default=0.0)

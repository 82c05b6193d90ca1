"""Proof that frameworks compute the same: ``bench parity``.

From the same initial weights and the same first batches every framework is held against a
reference, PyTorch in float64. A deviation is the largest difference in an array relative to the
largest magnitude in the reference's: a number that happens to be near zero has no relative
precision of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.backends.base import Task
from harness.backends.registry import BackendSpec
from harness.config import Optimizer, available_cpus
from harness.data.hdf5 import open_dataset
from harness.data.locate import resolve
from harness.errors import BenchError
from harness.models import find_model
from harness.protocol.order import epoch_order, steps_per_epoch
from harness.protocol.weights import Weights, initial_weights
from harness.worker import Worker

REFERENCE = "torch"
CHECKPOINTS = (1, 10, 100)
"""Steps after which parameters and running statistics are compared."""

TOLERANCE = {
    "float64": {"logits": 1e-9, "loss": 1e-9, "gradients": 1e-9, "step 1": 1e-8, "step 10": 1e-8},
    "float32": {"logits": 1e-4, "loss": 1e-4, "gradients": 1e-2, "step 1": 1e-3},
}
"""By precision and stage. What has none is shown and not judged: training amplifies rounding, and
how fast depends on the network and not on who computes it."""


class Deviation(NamedTuple):
    """How far one array of a framework lies from the reference's."""

    stage: str
    """``logits``, ``loss``, ``gradients``, or ``step 10``: parameters and running statistics."""
    name: str
    """Of the parameter, empty for logits and loss."""
    value: float
    """Relative; infinity where one of the two is not a number."""
    place: tuple[int, ...]
    """Where in the array, in canonical layout."""

    def __str__(self) -> str:
        return f"{self.stage} {self.where}".rstrip()

    @property
    def where(self) -> str:
        """Parameter and place."""
        return self.name + (f"[{', '.join(map(str, self.place))}]" if self.place else "")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What one framework computed, float32 or float64."""

    logits: NDArray[np.floating]
    """(B, outputs) of the first batch, as in evaluation."""
    loss: float
    gradients: Weights
    losses: NDArray[np.float64]
    """(steps,)"""
    states: Mapping[int, Weights]
    """Parameters and running statistics after so many steps."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all are to compute."""

    model: str
    dataset: Path
    optimizer: Optimizer
    threads: int
    weights: Weights
    batches: NDArray[np.int64]
    """(steps, B): indices into the training split."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One framework held against the reference."""

    framework: str
    model: str
    precision: str
    deviations: tuple[Deviation, ...]
    """Of every array."""

    def worst(self, stage: str) -> Deviation:
        return max((d for d in self.deviations if d.stage == stage), key=lambda d: d.value)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(deviation.stage for deviation in self.deviations))

    @property
    def beyond(self) -> tuple[Deviation, ...]:
        """The worst of every stage that is beyond its tolerance, in the order of computation."""
        bounds = TOLERANCE[self.precision]
        worst = (self.worst(stage) for stage in self.stages if stage in bounds)
        return tuple(deviation for deviation in worst if deviation.value > bounds[deviation.stage])


def make_plan(
    model: str,
    dataset: str,
    *,
    data_dir: Path,
    optimizer: Optimizer,
    batch_size: int,
    steps: int,
    threads: int,
    seed: int = 0,
) -> Plan:
    """The weights and batches of seed ``seed``; the batches run on over epochs.

    Raises:
        BenchError: an unknown network, no such data set, or one that does not fit.
    """
    path = resolve(dataset, data_dir)
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
    epochs = -(-steps // steps_per_epoch(examples, batch_size))
    orders = [epoch_order(examples, batch_size, seed, epoch) for epoch in range(epochs)]
    return Plan(
        model=model,
        dataset=path,
        optimizer=optimizer,
        threads=threads,
        weights=initial_weights(parameters, seed),
        batches=np.concatenate(orders)[:steps],
    )


def trace(spec: BackendSpec, plan: Plan, precision: str) -> Trace:
    """What ``spec`` computes, in a process of its own.

    Raises:
        WorkerError: the framework failed.
        BenchError: something a person must mend.
    """
    task = Task(
        model=plan.model,
        dataset=plan.dataset,
        optimizer=plan.optimizer,
        precision="float64" if precision == "float64" else "float32",
        threads=plan.threads,
    )
    rates = np.full(len(plan.batches), plan.optimizer.learning_rate)
    with (
        tempfile.TemporaryFile() as log,
        Worker(spec, threads=plan.threads, cpus=available_cpus(), log=log) as worker,
    ):
        worker.import_framework()
        worker.build(task, plan.weights)
        logits, loss, gradients = worker.loss_and_gradients(plan.batches[0])
        losses, states, done = [], {}, 0
        for checkpoint in (*CHECKPOINTS, len(plan.batches)):
            until = min(checkpoint, len(plan.batches))
            if until > done:
                steps = slice(done, until)
                losses.append(worker.train_epoch(plan.batches[steps], rates[steps])[1])
                states[until] = worker.save_weights()
                done = until
    return Trace(
        logits=logits, loss=loss, gradients=gradients, losses=np.concatenate(losses), states=states
    )


def compare(found: Trace, reference: Trace) -> tuple[Deviation, ...]:
    """The deviation of every array, in the order in which they are computed."""
    deviations = [
        deviation("logits", "", found.logits, reference.logits),
        deviation("loss", "", found.loss, reference.loss),
    ]
    deviations += _by_name("gradients", found.gradients, reference.gradients)
    for steps, state in reference.states.items():
        deviations += _by_name(f"step {steps}", found.states[steps], state)
    return tuple(deviations)


def _by_name(stage: str, found: Weights, reference: Weights) -> list[Deviation]:
    if found.keys() != reference.keys():
        odd = sorted(found.keys() ^ reference.keys())[0]
        return [Deviation(stage, odd, np.inf, ())]
    return [deviation(stage, name, found[name], reference[name]) for name in reference]


def deviation(stage: str, name: str, found: ArrayLike, reference: ArrayLike) -> Deviation:
    """The largest difference of two arrays relative to the largest magnitude of ``reference``."""
    one, other = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if one.shape != other.shape:
        return Deviation(stage, name, np.inf, ())
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        apart = np.abs(one - other)
    apart = np.where(np.isnan(apart), np.inf, apart)
    place = tuple(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    largest, scale = float(apart.max(initial=0)), float(np.abs(other).max(initial=0))
    if largest == 0:
        return Deviation(stage, name, 0.0, place)
    # Of an array that is all zero nothing is relative: what was found instead counts as it is.
    return Deviation(stage, name, largest / scale if scale > 0 else largest, place)


def hold(spec: BackendSpec, plan: Plan, precision: str, reference: Trace) -> Verdict:
    """One framework held against ``reference``.

    Raises:
        WorkerError: the framework failed.
    """
    return Verdict(
        framework=spec.name,
        model=plan.model,
        precision=precision,
        deviations=compare(trace(spec, plan, precision), reference),
    )

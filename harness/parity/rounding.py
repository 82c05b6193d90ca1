"""How far rounding alone may lead the losses of a whole training.

Training amplifies rounding, with batch normalisation and Adam a thousandfold within some steps. How
much is measured: a framework trains once more, from weights that are off by a few roundings and
with a first gradient that is off by as much of its largest element, and its losses are compared
with those of the run, step by step. The gradient, because Adam's first update is little more than
its signs, and those of small elements are rounding. Two frameworks that compute the same round
differently at every step, and should drift apart no faster than by some multiple of that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.config import Optimizer
from harness.execution.inputs import TrainingInputs, first_weights
from harness.execution.worker import Worker
from harness.parity.trace import ProofPlan
from harness.plan import Cell
from harness.plugins import FrameworkName, find_model
from harness.protocol.optimizer import SLOTS, OptimizerState
from harness.protocol.random import stream
from harness.protocol.weights import Weights
from harness.results.folder import RunFolder
from harness.results.records import AtLeastOne, Record

ROUNDINGS = 8
"""Machine epsilons by which weights, and the first gradient, are off at most."""
RISE = 1.05
"""Factor by which the largest difference must have grown to be noted."""


class LossDrift(Record):
    """How far the losses of a training differ from those of the same one from rounded weights."""

    framework: FrameworkName
    seed: int
    steps: AtLeastOne
    """How many were trained, from the first on."""
    rises: tuple[tuple[AtLeastOne, float], ...]
    """Step, counted from 1, and the largest relative difference up to it, where it has grown."""
    of_gradient: bool = False
    """Whether the first gradient was rounded too: not where the optimiser state cannot be set, and
    in certificates of earlier versions."""

    def largest(self, steps: int) -> NDArray[np.float64]:
        """(steps,): the largest relative difference up to each of the first ``steps`` steps."""
        found = np.zeros(steps)
        for step, difference in self.rises:
            found[step - 1 :] = difference
        return found

    def expected(self, steps: int) -> NDArray[np.float64]:
        """(steps,): how far rounding may have led by each of the first ``steps`` steps.

        The largest difference up to twice that step and ten more: rounding decides something, such
        as the sign of a small gradient or which of two values is the maximum, at another step of
        every training.
        """
        ahead = np.minimum(2 * np.arange(1, steps + 1) + 10, self.steps)
        found: NDArray[np.float64] = self.largest(self.steps)[ahead - 1]
        return found


def relative_difference(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of losses, step by step: relative to the larger of the two, so that it is 1 at most."""
    scale = np.maximum(np.abs(one), np.abs(other))
    with np.errstate(invalid="ignore"):
        return np.abs(one - other) / np.where(scale == 0, 1, scale)


def drift_of(
    folder: RunFolder, cell: Cell, worker: Worker, plan: ProofPlan, budget_s: float
) -> LossDrift | None:
    """Train ``cell`` again in ``worker``, from weights that are off by rounding.

    As many epochs as ``budget_s`` seconds allow by what they took in the run, one at least. None
    where the run has kept no losses, or the training diverges.

    Raises:
        WorkerError: the framework failed.
    """
    arrays, result = folder.read_arrays(cell), folder.read_result(cell)
    if arrays is None or result is None or not result.epochs:
        return None
    training = folder.manifest.experiment.training
    entry = folder.manifest.datasets[cell.dataset]
    weights = first_weights(find_model(cell.model), entry, training, cell.seed)
    inputs = TrainingInputs.make(weights, training, entry.train, cell.seed)
    longest = max(epoch.seconds for epoch in result.epochs)
    epochs = min(len(result.epochs), max(1, int(budget_s / longest)))
    worker.build(plan.job(training.precision), off_by_rounding(weights, training.precision))
    losses = [_train(worker, inputs, 0, slice(0, 1))]
    rate = float(inputs.rates[0][0])
    if (state := worker.save_optimizer()) is not None:
        held = worker.save_weights(), state
        weights, state = after_rounded_gradient(*held, training.optimizer, rate)
        worker.load_weights(weights)
        worker.load_optimizer(state)
    if len(inputs.orders[0]) > 1:
        losses.append(_train(worker, inputs, 0, slice(1, None)))
    losses += [_train(worker, inputs, each, slice(None)) for each in range(1, epochs)]
    trained = np.concatenate(losses).astype(np.float64)
    difference = relative_difference(trained, arrays.step_losses[: trained.size])
    if not np.isfinite(difference).all():
        return None
    return LossDrift(
        framework=cell.framework,
        seed=cell.seed,
        steps=trained.size,
        rises=_rises(difference),
        of_gradient=state is not None,
    )


def _train(worker: Worker, inputs: TrainingInputs, epoch: int, steps: slice) -> NDArray[np.float64]:
    """Losses of some steps of an epoch."""
    augmentation = inputs.augmentation[epoch]
    moved = None if augmentation is None else augmentation[steps]
    return worker.train_epoch(inputs.orders[epoch][steps], inputs.rates[epoch][steps], moved)[1]


def after_rounded_gradient(
    weights: Weights, state: OptimizerState, rule: Optimizer, rate: float
) -> tuple[Weights, OptimizerState]:
    """Weights and state after the first step, had its gradient been off by rounding.

    By at most ``ROUNDINGS`` machine epsilons of the largest element of each array: sums of many
    terms that cancel are off by no less. ``weights`` and ``state`` are those after the step.
    """
    weights, slots = dict(weights), {name: dict(arrays) for name, arrays in state.slots.items()}
    first, *second = SLOTS[rule.name]
    scale = 1.0 if rule.name == "sgd" else 1 - rule.beta1
    for name, kept in slots[first].items():
        gradient = kept.astype(np.float64) / scale
        reach = ROUNDINGS * float(np.finfo(kept.dtype).eps) * float(np.abs(gradient).max(initial=0))
        noise = 2 * stream(0, "drift of the gradient", name).random(kept.shape) - 1
        rounded = gradient + reach * noise
        slots[first][name] = np.asarray(scale * rounded, kept.dtype)
        update = rounded - gradient
        if second:
            slots[second[0]][name] = np.asarray((1 - rule.beta2) * rounded**2, kept.dtype)
            update = rounded / (abs(rounded) + rule.epsilon)
            update -= gradient / (abs(gradient) + rule.epsilon)
        weights[name] = np.asarray(weights[name] - rate * update, kept.dtype)
    return weights, OptimizerState(slots, state.steps)


def off_by_rounding(weights: Weights, precision: str) -> Weights:
    """``weights``, each off by at most ``ROUNDINGS`` machine epsilons of ``precision``."""
    reach = 2 * ROUNDINGS * float(np.finfo(precision).eps)
    return {
        name: np.asarray(
            array * (1 + reach * (stream(0, "drift", name).random(array.shape) - 0.5)), array.dtype
        )
        for name, array in weights.items()
    }


def _rises(difference: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    found: list[tuple[int, float]] = []
    for step, value in enumerate(np.maximum.accumulate(difference).tolist(), start=1):
        if not found or value > found[-1][1] * RISE:
            found.append((step, float(f"{value:.3g}")))
    return tuple(found)

"""Faults of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from harness.reference import operations as op
from harness.reference.losses import binary_cross_entropy, softmax_cross_entropy
from harness.reference.tape import Array, Variable


class Batch(NamedTuple):
    """What a loss is computed of."""

    logits: Variable
    targets: Array
    """(N, classes), one-hot where an image has one label."""
    multilabel: bool
    positive_weights: Array | None

    @property
    def probabilities(self) -> Variable:
        if self.multilabel:
            return op.sigmoid(self.logits)
        return op.exponential(op.log_softmax(self.logits))

    def loss(self) -> Variable:
        """The right one of these arrays."""
        if self.multilabel:
            return binary_cross_entropy(self.logits, self.targets, self.positive_weights)
        return softmax_cross_entropy(self.logits, self.targets)


def smoothed(batch: Batch, amount: float = 0.1) -> Variable:
    even = amount / (2 if batch.multilabel else batch.targets.shape[1])
    return batch._replace(targets=(1 - amount) * batch.targets + even).loss()


def scaled(factor: Callable[[Batch], float]) -> Callable[[Batch], Variable]:
    return lambda batch: batch.loss() * factor(batch)


def squared_error(batch: Batch) -> Variable:
    error = batch.probabilities - Variable(batch.targets)
    return op.mean(error * error)


LOSSES: Mapping[str, Callable[[Batch], Variable]] = {
    "summed over the batch": scaled(lambda batch: float(len(batch.targets))),
    "summed over labels": scaled(
        lambda batch: float(batch.targets.shape[1]) if batch.multilabel else 1.0
    ),
    "averaged over classes": scaled(lambda batch: 1 / batch.targets.shape[1]),
    "base 2": scaled(lambda batch: 1 / math.log(2)),
    "base 10": scaled(lambda batch: 1 / math.log(10)),
    "label smoothing": smoothed,
    "softmax twice": lambda batch: batch._replace(logits=batch.probabilities).loss(),
    "one against all": lambda batch: binary_cross_entropy(batch.logits, batch.targets),
    "squared error": squared_error,
    "positives unweighted": lambda batch: batch._replace(positive_weights=None).loss(),
}
"""Those without a fitted number."""


def reported(loss: Variable, amount: float) -> Variable:
    """Another value with the same gradient."""
    return Variable(np.asarray(amount * loss.value), [(loss, lambda g: g)])

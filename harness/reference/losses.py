"""Losses of logits (N, classes), averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.reference.operations import log_softmax, mean, softplus
from harness.reference.tape import Array, Variable


def one_hot(labels: NDArray[np.integer], classes: int, dtype: np.dtype[np.floating]) -> Array:
    """(N, classes): 1 at the label of each image."""
    return np.asarray(np.eye(classes)[labels], dtype)


def softmax_cross_entropy(logits: Variable, targets: Array) -> Variable:
    """Mean over the batch; ``targets`` (N, classes) are the probabilities of the classes."""
    return mean(-log_softmax(logits) * Variable(targets)) * float(targets.shape[1])


def binary_cross_entropy(
    logits: Variable, targets: Array, positive_weights: Array | None = None
) -> Variable:
    """Mean over batch and labels; ``targets`` (N, labels) are 0 or 1, and positives of a label
    count ``positive_weights`` (labels,)."""
    positive = softplus(-logits) * Variable(targets)
    if positive_weights is not None:
        positive = positive * Variable(positive_weights)
    return mean(positive + softplus(logits) * Variable(1 - targets))

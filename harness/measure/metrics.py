"""Loss and accuracy from logits, computed by the harness and not by the framework under test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp


class Evaluation(NamedTuple):
    loss: float
    """Mean softmax cross-entropy."""
    correct: int
    examples: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.examples


def evaluate_multiclass(logits: NDArray[np.floating], labels: NDArray[Any]) -> Evaluation:
    """Score ``logits`` (N, classes) against ``labels`` (N,), in float64.

    An image counts as correct when its label has the largest logit; of equals, the first. A NaN
    among the logits of an image makes it wrong.
    """
    scores = logits.astype(np.float64)
    rows = np.arange(len(labels))
    losses = logsumexp(scores, axis=1) - scores[rows, labels]
    answers = np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))
    return Evaluation(float(losses.mean()), int((answers == labels).sum()), len(labels))

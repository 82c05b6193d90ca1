"""Curves of a workload: loss, validation score, ROC and reliability, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from harness.analysis.run import Outcome
from harness.analysis.time_to_accuracy import scores

Curve = NDArray[np.float64]
POINTS = 150
"""Longest curve that is still shown step by step; longer ones are averaged down to this."""
BINS = 10
"""Points of a reliability curve."""


@dataclass(frozen=True)
class Band:
    """One curve a seed, (seeds, points), over ``x`` (points,)."""

    x: Curve
    values: Curve
    averaged: int = 1
    """How many steps each point averages."""

    @property
    def median(self) -> Curve:
        return np.median(self.values, axis=0)


def losses(outcome: Outcome) -> Band:
    """Training loss by step; by epoch where the step losses were not kept."""
    cells = list(outcome.trained.values())
    kept = [
        cell.arrays.step_losses
        for cell in cells
        if cell.arrays is not None and cell.arrays.step_losses.size
    ]
    epochs = [np.array([epoch.loss for epoch in cell.epochs]) for cell in cells]
    found = _equal_length(kept or epochs)
    steps = found.shape[1]
    averaged = max(1, math.ceil(steps / POINTS))
    points = steps // averaged
    means = found[:, : points * averaged].reshape(len(found), points, averaged).mean(axis=2)
    return Band(np.arange(points) * averaged + (averaged + 1) / 2, means, averaged)


def validation(outcome: Outcome, *, auroc: bool) -> Band:
    """Validation accuracy, or AUROC, by epoch."""
    found = _equal_length([scores(cell, auroc) for cell in outcome.trained.values()])
    return Band(np.arange(1, found.shape[1] + 1, dtype=np.float64), found)


def ranked(outcome: Outcome) -> list[tuple[NDArray[np.floating], NDArray[np.uint8]]]:
    """Scores and labels (examples, L) of every seed that kept its predictions."""
    return [cell.ranked for cell in outcome.trained.values() if cell.ranked is not None]


def roc(outcome: Outcome, index: int) -> tuple[Curve, Curve] | None:
    """False and true positive rates of one label, mean over the seeds; None: not defined."""
    from sklearn.metrics import roc_curve  # takes a second to import

    rates = np.linspace(0, 1, 101)
    found = []
    for score, label in ((s[:, index], a[:, index]) for s, a in ranked(outcome)):
        if np.isnan(score).any() or label.min() == label.max():
            continue
        false, true, _ = roc_curve(label, score)
        found.append(np.interp(rates, false, true))
    if not found:
        return None
    return np.append(0, rates), np.append(0, np.mean(found, axis=0))


def reliability(outcome: Outcome) -> tuple[Curve, Curve] | None:
    """Predicted probability and observed frequency; all labels and seeds pooled.

    Ten bins of equally many predictions, so that each point rests on as much. None where there
    are none.
    """
    kept = [(s.ravel(), a.ravel()) for s, a in ranked(outcome) if not np.isnan(s).any()]
    if not kept:
        return None
    probability = expit(np.concatenate([score for score, _ in kept]))
    label = np.concatenate([each for _, each in kept])
    order = np.argsort(probability, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if part.size]
    return (
        np.array([probability[part].mean() for part in bins]),
        np.array([label[part].mean() for part in bins]),
    )


def _equal_length(curves: Sequence[Sequence[float] | Curve]) -> Curve:
    shortest = min(len(curve) for curve in curves)
    return np.array([curve[:shortest] for curve in curves], dtype=np.float64)

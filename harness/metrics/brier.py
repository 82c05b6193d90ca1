"""Brier score: the mean squared difference between probability and label (Brier 1950)."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit

from harness.metrics import Groups, Labels, Logits, Metric
from harness.stats.metrics import as_labels
from harness.stats.statistics import Estimate


def per_label(logits: Logits, labels: Labels) -> tuple[float, ...]:
    scores, labels = as_labels(logits, labels)
    return tuple(map(float, ((expit(scores) - labels) ** 2).mean(axis=0)))


def brier(logits: Logits, labels: Labels, groups: Groups) -> Estimate | None:
    values = per_label(logits, labels)
    return Estimate(float(np.mean(values)), math.nan, math.nan) if values else None


BRIER = Metric(
    name="brier",
    title="Brier score",
    title_of_several="mean Brier score",
    compute=brier,
    per_label=per_label,
    display="share",
    better="lower",
    headline=False,
    order=60,
)

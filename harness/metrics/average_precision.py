"""Average precision: the area under the steps of precision against recall."""

from __future__ import annotations

import math

import numpy as np

from harness.metrics import Groups, Labels, Logits, Metric
from harness.stats.metrics import as_labels
from harness.stats.statistics import Estimate, mean_of_defined


def per_label(logits: Logits, labels: Labels) -> tuple[float, ...]:
    """NaN where a label has no positives, or a logit is NaN."""
    scores, labels = as_labels(logits, labels)
    return tuple(_one(score, label) for score, label in zip(scores.T, labels.T, strict=True))


def _one(score: Logits, label: Labels) -> float:
    from sklearn.metrics import average_precision_score  # takes a second to import

    if not label.any() or np.isnan(score).any():
        return math.nan
    return float(average_precision_score(label, score))


def average_precision(logits: Logits, labels: Labels, groups: Groups) -> Estimate | None:
    values = np.array(per_label(logits, labels))
    if np.isnan(values).all():
        return None
    return Estimate(float(mean_of_defined(values, axis=0)), math.nan, math.nan)


AVERAGE_PRECISION = Metric(
    name="average_precision",
    title="average precision",
    title_of_several="mean average precision",
    compute=average_precision,
    per_label=per_label,
    headline=False,
    order=50,
)

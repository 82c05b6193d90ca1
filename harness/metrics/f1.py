"""Macro F1: the mean over classes or labels of the F1 at the untuned threshold."""

from __future__ import annotations

import math

from harness.metrics import Groups, Labels, Logits, Metric, task_of
from harness.stats.metrics import class_counts, macro_f1, predictions
from harness.stats.statistics import Estimate


def f1(logits: Logits, labels: Labels, groups: Groups) -> Estimate | None:
    """Without an interval; None where no class or label has positives."""
    found = class_counts(predictions(task_of(labels), logits), labels, logits.shape[1])
    value = macro_f1(found)
    return None if value is None else Estimate(value, math.nan, math.nan)


def per_label(logits: Logits, labels: Labels) -> tuple[float, ...]:
    found = class_counts(predictions(task_of(labels), logits), labels, logits.shape[1])
    return tuple(math.nan if each.f1 is None else each.f1 for each in found)


F1 = Metric(
    name="macro_f1", title="macro F1", compute=f1, per_label=per_label, headline=False, order=40
)

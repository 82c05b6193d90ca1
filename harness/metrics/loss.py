"""Mean cross-entropy on the test split: softmax for classes, binary for labels."""

from __future__ import annotations

import math

from harness.metrics import Groups, Labels, Logits, Metric, task_of
from harness.stats.metrics import mean_loss
from harness.stats.statistics import Estimate


def loss(logits: Logits, labels: Labels, groups: Groups) -> Estimate:
    return Estimate(mean_loss(task_of(labels), logits, labels), math.nan, math.nan)


LOSS = Metric(
    name="loss",
    title="test loss",
    compute=loss,
    display="number",
    better="lower",
    headline=False,
    order=30,
)

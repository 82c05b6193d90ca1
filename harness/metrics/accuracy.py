"""Share of the test images whose class, or all of whose labels, are predicted correctly."""

from __future__ import annotations

from harness.metrics import Groups, Labels, Logits, Metric, task_of
from harness.stats.metrics import predictions
from harness.stats.statistics import Estimate, proportion


def accuracy(logits: Logits, labels: Labels, groups: Groups) -> Estimate:
    """With the exact binomial interval, as if images were independent."""
    correct = predictions(task_of(labels), logits) == labels
    if correct.ndim == 2:
        correct = correct.all(axis=1)
    return proportion(int(correct.sum()), len(correct))


ACCURACY = Metric(
    name="accuracy",
    title="test accuracy",
    title_of_several="all labels correct",
    compute=accuracy,
    display="percent",
    tolerance=0.0,
    order=20,
)

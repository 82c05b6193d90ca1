"""Area under the ROC curve; of several labels the mean over those that have one."""

from __future__ import annotations

import math

from harness.metrics import Groups, Labels, Logits, Metric
from harness.stats.metrics import as_labels
from harness.stats.statistics import Estimate, Ranking


def auroc(logits: Logits, labels: Labels, groups: Groups) -> Estimate | None:
    """With DeLong's interval over patients, or images where groups are not known."""
    scores, labels = as_labels(logits, labels)
    if not scores.shape[1]:
        return None
    found = Ranking.of(scores, labels, groups).interval()
    return None if math.isnan(found.value) else found


def per_label(logits: Logits, labels: Labels) -> tuple[float, ...]:
    return tuple(map(float, Ranking.of(*as_labels(logits, labels)).areas))


AUROC = Metric(
    name="auroc",
    title="AUROC",
    title_of_several="mean AUROC",
    compute=auroc,
    per_label=per_label,
    tolerance=0.0,
    order=10,
)

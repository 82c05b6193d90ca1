"""AUROC and its kin, label by label: what the test split can carry, and what others published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.published import Study, studies
from harness.analysis.run import Workload
from harness.results.folder import DatasetEntry
from harness.stats.statistics import MINIMUM_POSITIVES, group_support

Undefined = Literal["", "no positives", "no negatives", "not a number", "unknown"]


def name_of(workload: Workload) -> str:
    """What the one figure over all labels is called."""
    return "mean AUROC" if len(workload.labels) > 1 else "AUROC"


def is_synthetic(name: str, entry: DatasetEntry) -> bool:
    """Whether a data set says of itself that its images were computed."""
    described = f"{entry.source} {entry.license}".casefold()
    return name.startswith("xray-phantom") or "synthetic" in described


def published(workload: Workload) -> list[Study]:
    """Studies to stand beside the run; none beside images that are synthetic."""
    if not workload.labels or is_synthetic(workload.dataset, workload.entry):
        return []
    return studies(workload.labels)


@dataclass(frozen=True)
class Label:
    """One label, or the second of two classes, in the test split."""

    index: int
    name: str
    positives: int | None
    """Images that have it; None where the predictions, and with them the labels, are missing."""
    images: int | None
    patients: int | None
    """Patients that have it; None where the data set does not say."""
    support: int | None
    """Patients, or images, with it or without it, whichever are fewer."""
    defined: bool
    """Whether any variant has an AUROC."""
    undefined: Undefined
    """Why there is none, where there is none."""

    @property
    def share(self) -> float:
        """Of the images; NaN where not known."""
        return math.nan if self.positives is None or not self.images else (
            self.positives / self.images
        )  # fmt: skip

    @property
    def rare(self) -> bool:
        """Whether too few patients have it, or lack it, for an interval."""
        return self.defined and self.support is not None and self.support < MINIMUM_POSITIVES


def labels_of(workload: Workload) -> list[Label]:
    """Every label that has an AUROC, in the order of the data set."""
    return [_label(workload, index, name) for index, name in enumerate(workload.labels)]


def _label(workload: Workload, index: int, name: str) -> Label:
    defined = any(o.aurocs and not math.isnan(o.aurocs[index].value) for o in workload.finished)
    tested = workload.tested
    if tested is None:
        return Label(index, name, None, None, None, None, defined, "unknown")
    column = _column(tested.test_labels, index)
    positive = column == 1
    patients = None
    if tested.test_groups is not None and positive.any():
        patients = len(np.unique(tested.test_groups[positive]))
    undefined: Undefined = "not a number"
    if not positive.any() or positive.all():
        undefined = "no negatives" if positive.any() else "no positives"
    support = int(group_support(column[:, None], tested.test_groups)[0])
    return Label(
        index, name, int(positive.sum()), positive.size, patients, support, defined,
        "" if defined else undefined,
    )  # fmt: skip


def _column(labels: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    return labels if labels.ndim == 1 else labels[:, index]


@dataclass(frozen=True)
class AllCorrect:
    """What predicting no label at all would reach; shares of images and of single labels."""

    images: float
    labels: float


def without_predicting(workload: Workload) -> AllCorrect | None:
    """None where the labels of the test split are missing."""
    if workload.tested is None:
        return None
    labels = workload.tested.test_labels
    return AllCorrect(float((labels == 0).all(axis=1).mean()), float((labels == 0).mean()))

"""The predictions themselves: confusion matrices, F1 and its kin, of every variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.analysis.run import Outcome, Trained, Workload
from harness.stats import metrics, statistics
from harness.stats.statistics import Estimate

T = TypeVar("T")


def alike(items: Sequence[T], same: Callable[[T, T], bool]) -> list[list[T]]:
    """``items`` in groups of which all are the same as the first, in order of that one."""
    found: list[list[T]] = []
    for item in items:
        group = next((each for each in found if same(each[0], item)), None)
        if group is None:
            found.append([item])
        else:
            group.append(item)
    return found


def kept(outcome: Outcome) -> list[Trained]:
    """Cells of every seed that kept its predictions."""
    return [cell for cell in outcome.trained.values() if cell.arrays is not None]


@dataclass(frozen=True)
class VariantPredictions:
    """What one variant predicts for the test split, all seeds."""

    outcome: Outcome
    predicted: tuple[NDArray[np.int64], ...]
    """Of every seed, as :func:`harness.stats.metrics.predictions` gives them."""
    labels: tuple[NDArray[np.uint8], ...]
    outputs: int

    @classmethod
    def of(cls, workload: Workload, outcome: Outcome) -> VariantPredictions | None:
        """None where no seed kept its predictions."""
        pairs = [
            (cell.predictions, cell.arrays.test_labels)
            for cell in kept(outcome)
            if cell.predictions is not None and cell.arrays is not None
        ]
        if not pairs:
            return None
        predicted, labels = zip(*pairs, strict=True)
        return cls(outcome, predicted, labels, len(workload.entry.classes))

    @cached_property
    def counts(self) -> list[tuple[metrics.ClassCounts, ...]]:
        """By seed, of every class or label."""
        pairs = zip(self.predicted, self.labels, strict=True)
        return [metrics.class_counts(given, label, self.outputs) for given, label in pairs]

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Images by class (rows) and prediction (columns), all seeds together."""
        pairs = zip(self.predicted, self.labels, strict=True)
        found = [metrics.confusion(given, label, self.outputs) for given, label in pairs]
        return np.asarray(np.sum(found, axis=0))

    def f1(self, index: int) -> float:
        """Of one class or label, mean over the seeds; NaN where it is not defined."""
        values = [counts[index].f1 for counts in self.counts]
        return float(np.mean([np.nan if value is None else value for value in values]))

    @property
    def macro_f1(self) -> float | None:
        return _mean([metrics.macro_f1(counts) for counts in self.counts])

    @property
    def micro_f1(self) -> float | None:
        """Of all labels counted together."""
        pairs = zip(self.predicted, self.labels, strict=True)
        return _mean([metrics.micro_f1(given, label) for given, label in pairs])

    @property
    def lowest_f1(self) -> tuple[int, float] | None:
        """The class of the lowest F1, and that; None where no class has one."""
        values = [self.f1(index) for index in range(self.outputs)]
        known = [index for index, value in enumerate(values) if not np.isnan(value)]
        lowest = min(known, key=lambda index: values[index], default=None)
        return None if lowest is None else (lowest, values[lowest])

    @property
    def most_confused(self) -> tuple[int, int, int] | None:
        """The most frequent error: true class, predicted class, images; None without errors."""
        errors = self.confusion.copy()
        np.fill_diagonal(errors, 0)
        true, given = np.unravel_index(errors.argmax(), errors.shape)
        return (int(true), int(given), int(errors.max())) if errors.any() else None

    def predicted_times(self, index: int) -> float:
        """For how many images a class or label is predicted, mean over the seeds."""
        return float(np.mean([counts[index].predicted for counts in self.counts]))

    def positives(self, index: int) -> int:
        return self.counts[0][index].positives

    def recall(self, index: int) -> Estimate | None:
        """Share of the images of a class for which it is predicted, with the exact interval.

        None where the test split has no such image.
        """
        correct = [counts[index].correct for counts in self.counts]
        images = self.positives(index)
        return statistics.mean_accuracy(correct, images) if images else None

    @property
    def without(self) -> int:
        """Predictions that a NaN among the logits did not allow, all seeds together."""
        return sum(int((given == -1).sum()) for given in self.predicted)

    def same_as(self, other: VariantPredictions) -> bool:
        """Whether every prediction of every seed is the same."""
        return len(self.predicted) == len(other.predicted) and all(
            np.array_equal(*pair) for pair in zip(self.predicted, other.predicted, strict=True)
        )


def predictions_of(workload: Workload) -> list[VariantPredictions]:
    """Of every variant that kept its predictions."""
    found = [VariantPredictions.of(workload, outcome) for outcome in workload.finished]
    return [each for each in found if each is not None]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None

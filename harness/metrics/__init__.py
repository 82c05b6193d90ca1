"""What a trained network is scored by on the test split; each metric is a plug-in.

A metric is an object of :class:`Metric` in a module of its own, found by the entry-point group
``harness.metrics``. It is computed from the stored logits of the test split, never during training,
so that a metric that is added later has values for older runs too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from harness.stats.statistics import Estimate
from harness.stats.tasks import Task as Task

Logits = NDArray[Any]
"""float (N, outputs)."""
Labels = NDArray[Any]
"""uint8 (N,) of classes, or (N, outputs) of 0 and 1."""
Groups = NDArray[Any] | None
"""int64 (N,): which images are of one patient; None where the data set does not say."""
Compute = Callable[[Logits, Labels, Groups], Estimate | None]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How one score is computed, shown and gated."""

    name: str
    """Of its column in ``results.csv`` (``test_NAME``) and of its entry in baselines."""
    title: str
    """What tables call it."""
    title_of_several: str = ""
    """The same where there are several labels; empty: no different."""
    tasks: tuple[Task, ...] = ("multiclass", "multilabel")
    compute: Compute
    """Of the logits, labels and groups of the test split, with an interval where there is one
    (else NaN for its ends); None where it is not defined."""
    per_label: Callable[[Logits, Labels], tuple[float, ...]] | None = None
    """Of every label, or of the second of two classes; NaN where it is not defined."""
    display: Literal["percent", "share", "number"] = "share"
    """'percent': 98.3 %; 'share': 0.983; 'number': three significant digits."""
    better: Literal["higher", "lower"] = "higher"
    tolerance: float | None = None
    """What ``bench check`` lets pass in either direction, besides the uncertainty of the test
    split and the spread of the seeds; None: it is not gated."""
    headline: bool = True
    """Whether it has a column in the report's first table; else only in its details."""
    order: int = 100
    """Position among the columns; those of equal position by name."""

    def title_for(self, task: Task, classes: int) -> str:
        """What it is called for a task with so many classes or labels."""
        several = task == "multilabel" and classes > 1
        return self.title_of_several if several and self.title_of_several else self.title


def task_of(labels: Labels) -> Task:
    """Of labels as the test split stores them."""
    return "multiclass" if labels.ndim == 1 else "multilabel"

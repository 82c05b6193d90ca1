"""The metrics of every variant on the test split: of one evaluation, mean over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.analysis.run import Outcome, Run, Trained, Workload
from harness.metrics import Metric
from harness.plan import Cell
from harness.plugins import metrics
from harness.stats.statistics import Estimate

RECORDED: dict[str, Callable[[Outcome], Estimate]] = {
    "accuracy": lambda outcome: outcome.accuracy,
    "auroc": lambda outcome: outcome.mean_auroc,
}
"""Metrics that training itself records, so that they are known where predictions are missing."""
IN_CELLS = {"accuracy", "auroc", "loss"}
"""Metrics that have a column of every cell's own record in ``results.csv``."""


def of_cell(cell: Trained, metric: Metric) -> Estimate | None:
    """From the stored logits of one training; None where it is not defined or they are missing."""
    if cell.arrays is None:
        return None
    arrays = cell.arrays
    return metric.compute(arrays.test_logits, arrays.test_labels, arrays.test_groups)


def over_seeds(outcome: Outcome, metric: Metric) -> Estimate | None:
    """Mean over the seeds; its interval is the mean of theirs, that of a single evaluation.

    None where no seed has a value.
    """
    if metric.name in RECORDED:
        found = RECORDED[metric.name](outcome)
        return None if math.isnan(found.value) else found
    values = [of_cell(cell, metric) for cell in outcome.trained.values()]
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Estimate(*(float(mean) for mean in np.mean(known, axis=0)))


def shown(workload: Workload, *, headline: bool) -> list[Metric]:
    """Metrics that are defined for the workload; ``headline``: those of the first table alone.

    Without ``headline`` all of them.
    """
    found = []
    for metric in metrics().values():
        if workload.entry.task not in metric.tasks or (headline and not metric.headline):
            continue
        if metric.name == "auroc":
            if workload.labels:  # undefined ones are said to be
                found.append(metric)
        elif any(over_seeds(outcome, metric) for outcome in workload.finished):
            found.append(metric)
    return found


def title(workload: Workload, metric: Metric) -> str:
    return metric.title_for(workload.entry.task, len(workload.entry.classes))


def per_label(outcome: Outcome, metric: Metric, index: int) -> float:
    """Of one label, mean over the seeds; NaN where any has none."""
    if metric.per_label is None:
        return math.nan
    values = [
        metric.per_label(cell.arrays.test_logits, cell.arrays.test_labels)[index]
        if cell.arrays is not None
        else math.nan
        for cell in outcome.trained.values()
    ]
    return float(np.mean(values))


def csv_columns(run: Run) -> dict[Cell, dict[str, Any]]:
    """By cell, the values of metrics that its record does not hold, by column of the CSV file."""
    further = [metric for metric in metrics().values() if metric.name not in IN_CELLS]
    return {
        cell.result.cell: {f"test_{m.name}": _value(workload, cell, m) for m in further}
        for workload, _, cell in run.cells
    }


def _value(workload: Workload, cell: Trained, metric: Metric) -> float | None:
    estimate = of_cell(cell, metric) if workload.entry.task in metric.tasks else None
    return None if estimate is None else estimate.value


def range_of(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)

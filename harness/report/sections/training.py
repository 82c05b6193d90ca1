"""How training went: loss and validation score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.curves import losses, validation
from harness.analysis.labels import name_of
from harness.analysis.run import Workload
from harness.analysis.summary import WorkloadSummary
from harness.analysis.time_to_accuracy import uses_auroc
from harness.report import charts
from harness.report.section import Drawing, drawing, for_workloads

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def brief(each: WorkloadSummary) -> str:
    return figures(each)[0].markdown


def figures(each: WorkloadSummary) -> list[Drawing]:
    score = "AUROC" if uses_auroc(each.workload) else "accuracy"
    alt = f"Training loss by step and validation {score} by epoch"
    return [
        drawing(
            each.workload,
            "curves",
            alt,
            lambda: curves(each.workload),
            lambda: charts.training(each.workload),
        )
    ]


def curves(workload: Workload) -> Figure:
    """The median seed and the range; identical curves lie on one another."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    from harness.report import plotting

    auroc = uses_auroc(workload)
    figure = plotting.new_figure(3.7)
    left, right = figure.subplots(1, 2)
    averaged, lowest, highest = 1, math.inf, 0.0
    for index, outcome in enumerate(workload.finished):
        found = losses(outcome)
        averaged = found.averaged
        lowest = min(lowest, float(np.nanmin(found.values, initial=math.inf)))
        highest = max(highest, float(np.nanmax(found.values, initial=0)))
        plotting.band(left, found, workload.finished, index)
        scores = validation(outcome, auroc=auroc)
        plotting.band(right, scores, workload.finished, index, marker=len(scores.x) < 2)
    if lowest > 0 and highest > 10 * lowest:  # a narrower range has no power of ten to label
        left.set_yscale("log")
        left.yaxis.set_major_formatter(plotting.PLAIN)
        left.yaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("training step")
    left.set_ylabel("training loss" + (f", mean of {averaged} steps" if averaged > 1 else ""))
    right.set_xlabel("epoch")
    right.set_ylabel(f"validation {name_of(workload)}" if auroc else "validation accuracy")
    if not auroc:
        right.yaxis.set_major_formatter(plotting.PERCENT)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    plotting.legend(figure, workload.finished)
    return figure


SECTION = for_workloads(
    title="Training",
    applies=lambda each: bool(each.workload.finished),
    brief=brief,
    figures=figures,
)

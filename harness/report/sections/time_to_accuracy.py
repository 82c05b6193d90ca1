"""Time to accuracy: from the first touch of data to a validation score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.labels import name_of
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.analysis.time_to_accuracy import Target, clock, scores, time_to
from harness.report import charts
from harness.report.section import Drawing, drawing, for_workloads, paragraphs
from harness.report.style import style_of
from harness.report.text import NOTHING, escape, number, percent, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def brief(each: WorkloadSummary) -> str:
    return paragraphs(sentence(each), figures(each)[0].markdown)


def body(each: WorkloadSummary) -> str:
    return paragraphs(sentence(each), times(each))


def shown(target: Target) -> str:
    return f"{target.value:.3f}" if target.auroc else percent(target.value, 1)


def sentence(each: WorkloadSummary) -> str:
    target = each.target
    assert target is not None
    what = f"validation {name_of(each.workload)}" if target.auroc else "validation accuracy"
    why = "" if target.chosen else ", the best that every training of this run reached"
    return f"The target is a {what} of {shown(target)}{why}, evaluated after every epoch."


def times(each: WorkloadSummary) -> str:
    """One row a variant: medians over the seeds that reached it."""
    header = ["Variant", "Time to accuracy, s", "Epochs", "Start-up cost in it, s", "Seeds"]
    rows = []
    for found in each.reached:
        count = f"{len(found.seconds)} of {found.seeds}"
        title = escape(found.outcome.title)
        if not found.seconds:
            rows.append([title, "not reached", NOTHING, NOTHING, count])
            continue
        seconds = number(float(np.median(found.seconds)))
        if len(found.seconds) > 1:
            seconds += f" ({number(min(found.seconds))} to {number(max(found.seconds))})"
        first, last = min(found.epochs), max(found.epochs)
        epochs = str(first) if first == last else f"{first} to {last}"
        startup = number(float(np.median(found.startup_s)))
        rows.append([title, seconds, epochs, startup, count])
    return table(header, rows, align="lrrrr")


def figures(each: WorkloadSummary) -> list[Drawing]:
    target = each.target
    assert target is not None
    score = "AUROC" if target.auroc else "accuracy"
    alt = f"Validation {score} over the seconds since the first touch of data"
    return [
        drawing(
            each.workload,
            "target",
            alt,
            lambda: curves(each),
            lambda: charts.time_to_accuracy(each.workload, target),
        )
    ]


def curves(each: WorkloadSummary) -> Figure:
    """Validation score over the seconds since the first touch of data, one line a seed."""
    from matplotlib.ticker import LogLocator, NullLocator

    from harness.report import plotting

    workload, target = each.workload, each.target
    assert target is not None
    figure = plotting.new_figure(3.7)
    axes = figure.subplots()
    lowest = target.value
    for outcome in workload.finished:
        style = style_of(outcome.framework)
        x: list[float] = []
        y: list[float] = []
        reached: list[tuple[float, float]] = []
        for cell in outcome.shown:
            found = scores(cell, target.auroc)
            lowest = min(lowest, float(np.nanmedian(found)))
            # One line for all seeds, broken between them: many lines take long to draw.
            x += [*clock(cell), math.nan]
            y += [*found, math.nan]
            if (at := time_to(cell, target)) is not None:
                seconds, epoch = at
                reached.append((seconds, float(found[epoch - 1])))
        axes.plot(
            x, y, color=style.color, linewidth=1.4, marker=style.marker, markersize=3.5, alpha=0.85
        )
        if reached:
            axes.plot(
                *zip(*reached, strict=True), "D", color=style.color, markersize=8,
                markeredgecolor="black",
            )  # fmt: skip
    axes.axhline(target.value, color="black", linewidth=1, linestyle="--")
    axes.annotate(
        f"target {shown(target)}", (0, target.value), xycoords=("axes fraction", "data"),
        xytext=(4, 3), textcoords="offset points", va="bottom",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(plotting.PLAIN)
    # The climb from guessing would squeeze together what is to be told apart.
    axes.set_ylim(bottom=lowest - 0.25 * max(1e-3, 1 - lowest))
    axes.set_xlabel("seconds since the first touch of data, compilation included (less is better)")
    axes.set_ylabel(f"validation {name_of(workload)}" if target.auroc else "validation accuracy")
    if not target.auroc:
        axes.yaxis.set_major_formatter(plotting.PERCENT)
    plotting.legend(figure, workload.finished, columns=3, markers=True)
    return figure


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Time to accuracy**: build, first step, first prediction, then epochs with their "
        "evaluations, until the validation score first reaches the target; the median over the "
        "seeds that reached it, and their range. A target that nobody chose is the best score that "
        "every training reached, rounded down, so it flatters nobody and suits only this run."
    ]


SECTION = for_workloads(
    title="Time to accuracy",
    applies=lambda each: each.target is not None and each.workload.timed,
    brief=brief,
    body=body,
    figures=figures,
    terms=terms,
    intro="From the first touch of data, when the model is built, to the end of the evaluation "
    "that reaches the target: compilation, training and evaluation together, as MLPerf counts it. "
    "Starting processes and importing frameworks is left out.",
)

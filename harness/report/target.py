"""Time to accuracy, as MLPerf counts it: from the first touch of data to a quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from harness.analysis.comparison import Group, Run, Trained
from harness.report.labels import name_of
from harness.report.text import NOTHING, escape, number, percent, table


@dataclass(frozen=True)
class Target:
    """A validation score."""

    value: float
    chosen: bool
    """By the person; otherwise it is the best that every training reached."""
    auroc: bool

    def __str__(self) -> str:
        return f"{self.value:.3f}" if self.auroc else percent(self.value, 1)


def target_of(run: Run, group: Group) -> Target | None:
    """What the time to is told; None where nothing is trained."""
    cells = [cell for outcome in group.finished for cell in outcome.trained.values()]
    if not cells:
        return None
    auroc = uses_auroc(group)
    asked = run.manifest.experiment.target
    if asked is not None:
        return Target(asked, True, auroc)
    reached = min(float(np.nanmax(scores(cell, auroc))) for cell in cells)
    if math.isnan(reached):
        return None
    # Rounded down, so that all still reach it; a tenth of a percent is what a table shows.
    return Target(math.floor(reached * 1000 + 1e-9) / 1000, False, auroc)


def uses_auroc(group: Group) -> bool:
    """Whether quality is AUROC: every epoch has one."""
    epochs = [e for o in group.finished for cell in o.trained.values() for e in cell.epochs]
    return bool(group.labels) and all(epoch.val_auroc is not None for epoch in epochs)


def scores(cell: Trained, auroc: bool) -> list[float]:
    """Validation scores, epoch by epoch."""
    return [
        e.val_auroc if auroc and e.val_auroc is not None else e.val_accuracy for e in cell.epochs
    ]


def clock(cell: Trained) -> list[float]:
    """Seconds from the first touch of data to the end of each epoch's evaluation.

    Data are first touched when the model is built. Compilation counts; starting a process and
    importing a framework do not.
    """
    once = cell.phases.build_s + cell.phases.first_step_s + cell.phases.first_predict_s
    return list(accumulate((e.seconds + e.evaluate_s for e in cell.epochs), initial=once))[1:]


def time_to(cell: Trained, target: Target) -> tuple[float, int] | None:
    """Seconds and epochs until the score is reached for the first time; None: never."""
    ends = zip(clock(cell), scores(cell, target.auroc), strict=True)
    for epoch, (seconds, score) in enumerate(ends, start=1):
        if score >= target.value:
            return seconds, epoch
    return None


def sentence(target: Target, group: Group) -> str:
    what = f"validation {name_of(group)}" if target.auroc else "validation accuracy"
    why = "" if target.chosen else ", the best that every training of this run reached"
    return f"The target is a {what} of {target}{why}. It was judged after every epoch."


def times(run: Run, group: Group, target: Target) -> str:
    """One row a framework: medians over the seeds that reached it."""
    header = ["Framework", "Time to accuracy, s", "Epochs", "Start-up cost in it, s", "Seeds"]
    rows = []
    for outcome in group.finished:
        found = [(cell, time_to(cell, target)) for cell in outcome.trained.values()]
        reached = [(cell, *at) for cell, at in found if at is not None]
        count = f"{len(reached)} of {len(found)}"
        if not reached:
            rows.append([escape(outcome.title), "not reached", NOTHING, NOTHING, count])
            continue
        seconds = [at for _, at, _ in reached]
        shown = number(float(np.median(seconds)))
        if len(seconds) > 1:
            shown += f" ({number(min(seconds))} to {number(max(seconds))})"
        epochs = sorted({epoch for *_, epoch in reached})
        once = [clock(c)[0] - c.epochs[0].seconds - c.epochs[0].evaluate_s for c, *_ in reached]
        rows.append(
            [
                escape(outcome.title),
                shown,
                str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}",
                number(float(np.median(once))),
                count,
            ]
        )
    return table(header, rows, align="lrrrr")


def curves(group: Group, target: Target, colors: Sequence[str], width: float) -> Figure:
    """Validation score over the seconds since the first touch of data, one line a seed."""
    figure = Figure(figsize=(width, 3.7), layout="constrained")
    axes = figure.subplots()
    lowest = target.value
    for place, outcome in enumerate(group.finished):
        for number_, cell in enumerate(outcome.trained.values()):
            found = scores(cell, target.auroc)
            lowest = min(lowest, float(np.nanmedian(found)))
            axes.plot(
                clock(cell),
                found,
                color=colors[place % len(colors)],
                linewidth=1.4,
                marker="o",
                markersize=3,
                alpha=0.85,
                label=outcome.title if number_ == 0 else None,
            )
            _mark(axes, cell, target, colors[place % len(colors)])
    axes.axhline(target.value, color="black", linewidth=1, linestyle="--")
    axes.annotate(
        f"target {target}", (0, target.value), xycoords=("axes fraction", "data"),
        xytext=(4, 3), textcoords="offset points", va="bottom",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    # The climb from guessing would squeeze together what is to be told apart.
    axes.set_ylim(bottom=lowest - 0.25 * max(1e-3, 1 - lowest))
    axes.set_xlabel("seconds since the first touch of data, compilation included (less is better)")
    if target.auroc:
        axes.set_ylabel(f"validation {name_of(group)}")
    else:
        axes.set_ylabel("validation accuracy")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{round(100 * v, 6):g} %"))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _mark(axes: Axes, cell: Trained, target: Target, color: str) -> None:
    """Where the target is first reached."""
    at = time_to(cell, target)
    if at is not None:
        seconds, epoch = at
        score = scores(cell, target.auroc)[epoch - 1]
        axes.plot(seconds, score, "D", color=color, markersize=8, markeredgecolor="black")

"""The figures of one group as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from harness.report.comparison import Group, Outcome, Trained
from harness.report.text import number

# Okabe & Ito's palette, told apart by colour-blind readers too; dashes help in greyscale.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES: tuple[tuple[float, ...], ...] = ((), (7, 5), (3, 4), (9, 3, 2, 3), (5, 2), (1, 3))
PHASES = {
    "start_s": ("start of the process", "#666666"),
    "import_s": ("import", "#B3B3B3"),
    "build_s": ("build: open data, make model", "#56B4E9"),
    "first_step_s": ("first step, compilation included", "#D55E00"),
    "first_predict_s": ("first prediction", "#F0E442"),
}
POINTS = 150
"""Longest curve that is still drawn step by step; longer ones are averaged down to this."""
WIDTH = 8.0
STYLE: Any = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "lines.scale_dashes": False,  # thick lines keep dashes short enough to see what lies below
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.8,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw(group: Group) -> dict[str, str]:
    """SVG text by kind: 'curves', 'speed' and 'startup'; nothing for a group without results."""
    if not group.finished:
        return {}
    kinds: dict[str, Callable[[Group], Figure]] = {
        "curves": curves,
        "speed": speed,
        "startup": startup,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # a person's own style must not change a report
        mpl.rcParams.update(STYLE)
        return {kind: _svg(figure(group)) for kind, figure in kinds.items()}


def curves(group: Group) -> Figure:
    """Training loss by step and validation accuracy by epoch: the median seed and the range."""
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    averaged = 1
    positive = True
    for place, outcome in enumerate(group.finished):
        losses, first, averaged = _losses(outcome)
        positive &= bool(np.nanmin(losses, initial=math.inf) > 0)
        _band(left, first, losses, group, place, marker=False)
        accuracies = _equal_length([[e.val_accuracy for e in c.epochs] for c in _cells(outcome)])
        epochs = np.arange(1, accuracies.shape[1] + 1, dtype=np.float64)
        _band(right, epochs, accuracies, group, place, marker=len(epochs) < 2)
    if positive:
        left.set_yscale("log")
        left.yaxis.set_major_formatter(FuncFormatter(_plain_tick))
        left.yaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("training step")
    left.set_ylabel("training loss" + (f", mean of {averaged} steps" if averaged > 1 else ""))
    right.set_xlabel("epoch")
    right.set_ylabel("validation accuracy")
    right.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False, handlelength=4
    )
    return figure


def speed(group: Group) -> Figure:
    """Median throughput with its interval, and every epoch as a dot."""
    outcomes = group.finished
    figure = Figure(figsize=(WIDTH, 1.1 + 0.55 * len(outcomes)), layout="constrained")
    axes = figure.subplots()
    values = [outcome.speed.value for outcome in outcomes]
    places = np.arange(len(outcomes))
    colors = [_color(place) for place in range(len(outcomes))]
    axes.barh(places, values, height=0.6, color=colors, alpha=0.55)
    # A fixed scatter keeps the dots apart without chance.
    generator = np.random.default_rng(0)
    reach = max(values)
    for place, outcome in enumerate(outcomes):
        rounds = np.concatenate([cell.images_per_second for cell in _cells(outcome)])
        shift = generator.uniform(-0.2, 0.2, rounds.size)
        axes.plot(rounds, place + shift, ".", color=_color(place), markersize=4, markeredgewidth=0)
        estimate = outcome.speed
        if estimate.has_interval:
            axes.errorbar(
                estimate.value,
                place,
                xerr=[[estimate.value - estimate.low], [estimate.high - estimate.value]],
                color="black",
                capsize=4,
                linewidth=1.4,
            )
        end = float(max(rounds.max(), estimate.value))
        reach = max(reach, end)
        _label(axes, end, place, number(estimate.value))
    _rows(axes, outcomes)
    axes.set_xlim(0, reach * 1.14)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain_tick))
    axes.set_xlabel("training speed, images per second (more is better)")
    return figure


def startup(group: Group) -> Figure:
    """What is paid once, phase by phase; medians over the seeds."""
    outcomes = group.finished
    figure = Figure(figsize=(WIDTH, 1.6 + 0.55 * len(outcomes)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(outcomes))
    left = np.zeros(len(outcomes))
    for name, (label, color) in PHASES.items():
        seconds = np.array([outcome.phase(name) for outcome in outcomes])
        axes.barh(places, seconds, left=left, height=0.6, color=color, label=label)
        left += seconds
    for place, outcome in enumerate(outcomes):
        _label(axes, outcome.once_s, place, f"{number(outcome.once_s)} s")
    _rows(axes, outcomes)
    axes.set_xlim(0, max(float(left.max()) * 1.14, 1e-9))
    axes.set_xlabel("seconds before the first steady epoch (less is better)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _cells(outcome: Outcome) -> list[Trained]:
    return list(outcome.trained.values())


def _percent_tick(value: float, _: object) -> str:
    return f"{round(100 * value, 6):g} %"


def _plain_tick(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _color(place: int) -> str:
    return COLORS[place % len(COLORS)]


def _rows(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    axes.set_yticks(range(len(outcomes)), [outcome.title for outcome in outcomes])
    axes.set_ylim(len(outcomes) - 0.5, -0.5)  # the first on top
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _label(axes: Axes, x: float, place: int, text: str) -> None:
    axes.annotate(
        text, (x, place), xytext=(6, 0), textcoords="offset points", va="center", ha="left"
    )


def _losses(outcome: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Losses (seeds, points), their steps (points,), and how many steps each point averages.

    Epoch means stand in where the step losses were not kept.
    """
    curves = []
    averaged = 1
    for cell in _cells(outcome):
        if cell.arrays is not None and cell.arrays.step_losses.size:
            curves.append(cell.arrays.step_losses)
    if not curves:
        curves = [np.array([epoch.loss for epoch in cell.epochs]) for cell in _cells(outcome)]
    losses = _equal_length(curves)
    steps = losses.shape[1]
    averaged = max(1, math.ceil(steps / POINTS))
    points = steps // averaged
    kept = losses[:, : points * averaged].reshape(len(losses), points, averaged)
    centres = np.arange(points) * averaged + (averaged + 1) / 2
    return kept.mean(axis=2), centres, averaged


def _equal_length(curves: Sequence[Sequence[float] | NDArray[np.float64]]) -> NDArray[np.float64]:
    shortest = min(len(curve) for curve in curves)
    return np.array([curve[:shortest] for curve in curves], dtype=np.float64)


def _band(
    axes: Axes,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    group: Group,
    place: int,
    *,
    marker: bool,
) -> None:
    """Median over the seeds, and their range. Later frameworks are drawn thinner, on top.

    The same numbers in every framework give the same curve: only so can all of them be seen.
    """
    above = len(group.finished) - 1 - place
    thicker = min(1.3, 4 / max(1, len(group.finished) - 1))
    middle = np.median(values, axis=0)
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(x, low, high, color=_color(place), alpha=0.12, linewidth=0)
    axes.plot(
        x,
        middle,
        color=_color(place),
        linewidth=1.4 + thicker * above,
        dashes=DASHES[place % len(DASHES)] or (None, None),
        marker="o" if marker else None,
        markersize=5 + 3 * above,
        label=group.finished[place].title,
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()

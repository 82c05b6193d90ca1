"""The figures of one group as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from scipy.special import expit

from harness.analysis.comparison import Group, Outcome, Run, Trained
from harness.report import answers, closeness, examples, inference, pictures, target
from harness.report.labels import name_of
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
MOST_CLASSES = 20
"""Larger confusion matrices cannot be read in a figure."""
BINS = 10
"""Points of a reliability curve."""
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


def draw(run: Run, group: Group) -> dict[str, str | bytes]:
    """SVG text by kind: 'curves', 'speed' and 'startup'; nothing for a group without results.

    As well, where there is something to draw: 'target', 'roofline', 'inference'; 'roc' and
    'calibration' with AUROCs and predictions, 'confusion' with more than two classes; and
    'examples', a PNG, of the test images that were kept.
    """
    if not group.finished:
        return {}
    kinds: dict[str, Callable[[Group], Figure]] = {
        "curves": curves,
        "speed": speed,
        "startup": startup,
    }
    if (aim := target.target_of(run, group)) is not None:
        kinds["target"] = lambda group: target.curves(group, aim, COLORS, WIDTH)
    if closeness.measured(run, group):
        kinds["roofline"] = lambda group: closeness.roofline(run, group, COLORS, WIDTH)
    if inference.timed(group):
        kinds["inference"] = lambda group: inference.curves(group, COLORS, WIDTH)
    if group.labels and any(_ranked(outcome) for outcome in group.finished):
        kinds |= {"roc": roc, "calibration": calibration}
    if has_confusion(group):
        kinds["confusion"] = confusion
    shown = examples.shown(group)
    pixels = {} if shown is None else {"examples": pictures.draw(shown, STYLE)}
    with mpl.rc_context():
        mpl.rcdefaults()  # a person's own style must not change a report
        mpl.rcParams.update(STYLE)
        return {kind: _svg(figure(group)) for kind, figure in kinds.items()} | pixels


def curves(group: Group) -> Figure:
    """Training loss by step and validation accuracy by epoch: the median seed and the range.

    Validation AUROC instead of accuracy where there is one.
    """
    auroc = target.uses_auroc(group)
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    averaged = 1
    lowest, highest = math.inf, 0.0
    for place, outcome in enumerate(group.finished):
        losses, first, averaged = _losses(outcome)
        lowest = min(lowest, float(np.nanmin(losses, initial=math.inf)))
        highest = max(highest, float(np.nanmax(losses, initial=0)))
        _band(left, first, losses, group, place, marker=False)
        scores = _equal_length([target.scores(cell, auroc) for cell in _cells(outcome)])
        epochs = np.arange(1, scores.shape[1] + 1, dtype=np.float64)
        _band(right, epochs, scores, group, place, marker=len(epochs) < 2)
    if lowest > 0 and highest > 10 * lowest:  # a narrower range has no power of ten to label
        left.set_yscale("log")
        left.yaxis.set_major_formatter(FuncFormatter(_plain_tick))
        left.yaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("training step")
    left.set_ylabel("training loss" + (f", mean of {averaged} steps" if averaged > 1 else ""))
    right.set_xlabel("epoch")
    if auroc:
        right.set_ylabel(f"validation {name_of(group)}")
    else:
        right.set_ylabel("validation accuracy")
        right.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, left)
    return figure


def roc(group: Group) -> Figure:
    """One small plot a label, one line a framework: the mean over the seeds at each share of
    false alarms."""
    from sklearn.metrics import roc_curve  # takes a second to import

    count = len(group.labels)
    lines = math.ceil(count / 4)
    columns = math.ceil(count / lines)
    width = WIDTH if columns > 1 else WIDTH / 2
    figure = Figure(figsize=(width, 1 + lines * width / columns), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    false_alarms = np.linspace(0, 1, 101)
    for axes in panels.flat[count:]:
        axes.set_visible(False)
    for number_, (axes, label) in enumerate(zip(panels.flat, group.labels, strict=False)):
        axes.set_title(_title(label), fontsize=9)
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        axes.set_aspect("equal")
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
        drawn = False
        for place, outcome in enumerate(group.finished):
            curves = []
            for scores, labels in _ranked(outcome):
                score, answer = scores[:, number_], labels[:, number_]
                if np.isnan(score).any() or answer.min() == answer.max():
                    continue
                false, true, _ = roc_curve(answer, score)
                curves.append(np.interp(false_alarms, false, true))
            if curves:
                drawn = True
                found = np.append(0, np.mean(curves, axis=0))
                _line(axes, np.append(0, false_alarms), found, group, place, scale=0.8)
        if not drawn:
            axes.text(0.5, 0.25, "undefined", ha="center", fontsize=8, color="#555555")
    figure.supxlabel("share of false alarms (1 - specificity)", fontsize=10)
    figure.supylabel("share found (sensitivity)", fontsize=10)
    _legend_of_frameworks(figure, group)
    return figure


def calibration(group: Group) -> Figure:
    """How often a label is there, by the probability given to it; all labels and seeds pooled.

    Ten bins of equally many answers, so that each point rests on as much.
    """
    figure = Figure(figsize=(WIDTH / 2, 0.8 + WIDTH / 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    reach = 0.0
    for place, outcome in enumerate(group.finished):
        kept = [(s.ravel(), a.ravel()) for s, a in _ranked(outcome) if not np.isnan(s).any()]
        if not kept:
            continue
        probability = expit(np.concatenate([scores for scores, _ in kept]))
        answer = np.concatenate([answers for _, answers in kept])
        order = np.argsort(probability, kind="stable")
        bins = [part for part in np.array_split(order, BINS) if part.size]
        said = np.array([probability[part].mean() for part in bins])
        true = np.array([answer[part].mean() for part in bins])
        reach = max(reach, float(said.max()), float(true.max()))
        _line(axes, said, true, group, place, scale=0.7, marker=True)
    reach = min(1.0, 1.08 * reach) or 1.0
    axes.set_xlim(0, reach)
    axes.set_ylim(0, reach)
    axes.set_aspect("equal")
    axes.set_xlabel("probability given")
    axes.set_ylabel("share that is positive")
    _legend_of_frameworks(figure, group)
    return figure


def has_confusion(group: Group) -> bool:
    """Whether there is a confusion matrix that a figure can show."""
    classes = len(group.entry.classes)
    shown = group.entry.task == "multiclass" and 2 < classes <= MOST_CLASSES
    return shown and bool(answers.answering(group))


def confusion(group: Group) -> Figure:
    """One matrix a framework: colour for the share of a class, numbers for the images."""
    outcomes = answers.answering(group)
    classes = [_title(name) for name in group.entry.classes]
    columns = min(3, len(outcomes))
    lines = math.ceil(len(outcomes) / columns)
    side = 0.8 + min(4.0, max(2.2, 0.24 * len(classes)))
    figure = Figure(figsize=(max(4.2, side * columns), 0.6 + side * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    places = range(len(classes))
    for axes in panels.flat[len(outcomes) :]:
        axes.set_visible(False)
    for axes, outcome in zip(panels.flat, outcomes, strict=False):
        counts = answers.confusion(group, outcome)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title("\n".join(textwrap.wrap(outcome.title, 26)), fontsize=9)
        axes.set_xticks(places, classes, fontsize=7, rotation=0 if _are_short(classes) else 90)
        axes.set_yticks(places, classes, fontsize=7)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for true, given in np.argwhere(counts):
            dark = share[true, given] > 0.5
            axes.text(
                given, true, f"{counts[true, given]}", ha="center", va="center",
                fontsize=6, color="white" if dark else "#222222",
            )  # fmt: skip
    figure.supxlabel("answer", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    return figure


def _are_short(names: Sequence[str]) -> bool:
    return max(map(len, names)) <= 3


def _ranked(outcome: Outcome) -> list[tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]]:
    """Scores and labels (examples, L) of every seed that kept its predictions."""
    return [cell.ranked for cell in _cells(outcome) if cell.ranked is not None]


def _title(label: str) -> str:
    """A label as text that matplotlib takes for no formula and that fits its plot."""
    flat = " ".join(label.split()).replace("$", r"\$")
    return flat if len(flat) <= 24 else flat[:23] + "…"


def _legend_of_frameworks(figure: Figure, group: Group) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=_color(place),
            dashes=DASHES[place % len(DASHES)] or (None, None),
            linewidth=2,
            label=outcome.title,
        )
        for place, outcome in enumerate(group.finished)
    ]
    wide = figure.get_figwidth() > WIDTH / 2
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=2 if wide else 1,
        frameon=False,
        handlelength=4,
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False, handlelength=4
    )


def speed(group: Group) -> Figure:
    """Median throughput with its interval, and every round as a dot."""
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
    """Start-up cost, phase by phase; medians over the seeds."""
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
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(x, low, high, color=_color(place), alpha=0.12, linewidth=0)
    _line(axes, x, np.median(values, axis=0), group, place, marker=marker)


def _line(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    group: Group,
    place: int,
    *,
    scale: float = 1.0,
    marker: bool = False,
) -> None:
    above = len(group.finished) - 1 - place
    thicker = min(1.3, 4 / max(1, len(group.finished) - 1))
    axes.plot(
        x,
        y,
        color=_color(place),
        linewidth=scale * (1.4 + thicker * above),
        dashes=DASHES[place % len(DASHES)] or (None, None),
        marker="o" if marker else None,
        markersize=scale * (5 + 3 * above),
        label=group.finished[place].title,
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()

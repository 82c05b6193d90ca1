"""Interactive figures as data for Plotly: the same curves as the figures of matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.analysis import curves
from harness.analysis.labels import Label
from harness.analysis.run import Outcome, Workload
from harness.analysis.time_to_accuracy import Target, clock, scores, uses_auroc
from harness.report.style import style_of

Chart = dict[str, Any]
"""``data`` and ``layout`` as Plotly takes them."""
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down",
    "P": "cross", "X": "x", "*": "star",
}  # fmt: skip
"""Markers of matplotlib, as Plotly calls them."""
DIGITS = 5
"""Significant digits of a coordinate: more cannot be seen."""


def numbers(values: Iterable[float]) -> list[float | None]:
    """For JSON: NaN is null."""
    return [None if value != value else float(f"{value:.{DIGITS}g}") for value in values]


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, "automargin": True} | more


def line(
    outcome: Outcome, x: Iterable[float], y: Iterable[float], *, shown: bool = True
) -> dict[str, Any]:
    """One curve; ``shown``: whether it stands in the legend."""
    style = style_of(outcome.framework)
    dash = ",".join(f"{length}px" for length in style.dashes) or "solid"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": outcome.title,
        "legendgroup": outcome.framework,
        "showlegend": shown,
        "x": numbers(x),
        "y": numbers(y),
        "line": {"color": style.color, "dash": dash},
        "marker": {"color": style.color, "symbol": SYMBOLS[style.marker]},
    }


def speeds(workload: Workload) -> Chart:
    """Median throughput with its interval, and every round."""
    data = []
    for outcome in reversed([each for each in workload.by_role if each.trained]):
        estimate, style = outcome.speed, style_of(outcome.framework)
        above, below = estimate.high - estimate.value, estimate.value - estimate.low
        error = {"type": "data", "array": numbers([above]), "arrayminus": numbers([below])}
        own: dict[str, Any] = {"orientation": "h", "name": outcome.title}
        data.append(
            own
            | {
                "type": "bar",
                "x": numbers([estimate.value]),
                "y": [outcome.title],
                "marker": {"color": style.color},
                "error_x": error if estimate.has_interval else None,
            }
        )
        rounds = np.concatenate([cell.images_per_second for cell in outcome.shown])
        data.append(
            own
            | {
                "type": "scatter",
                "mode": "markers",
                "name": f"{outcome.title}: rounds",
                "x": numbers(rounds),
                "y": [outcome.title] * rounds.size,
                "marker": {"color": "#888888", "size": 4, "opacity": 0.6},
            }
        )
    layout = {
        "xaxis": axis("training speed, images per second", rangemode="tozero"),
        "yaxis": axis(""),
        "showlegend": False,
        "barmode": "overlay",
        "height": 120 + 45 * len(data) // 2,
    }
    return {"data": data, "layout": layout}


def training(workload: Workload) -> Chart:
    """Training loss by step and validation score by epoch: the median seed."""
    auroc = uses_auroc(workload)
    data = []
    for outcome in workload.finished:
        loss, score = curves.losses(outcome), curves.validation(outcome, auroc=auroc)
        data.append(line(outcome, loss.x, loss.median))
        second = {"xaxis": "x2", "yaxis": "y2"}
        data.append(line(outcome, score.x, score.median, shown=False) | second)
    return {
        "data": data,
        "layout": {
            "grid": {"rows": 1, "columns": 2, "pattern": "independent", "xgap": 0.15},
            "xaxis": axis("training step"),
            "yaxis": axis("training loss", type="log"),
            "xaxis2": axis("epoch"),
            "yaxis2": axis(f"validation {'AUROC' if auroc else 'accuracy'}"),
        },
    }


def time_to_accuracy(workload: Workload, target: Target) -> Chart:
    """Validation score over the seconds since the first touch of data, one line a seed."""
    data = []
    for outcome in workload.finished:
        for number, cell in enumerate(outcome.shown):
            found = line(outcome, clock(cell), scores(cell, target.auroc), shown=number == 0)
            found["line"] |= {"dash": "solid", "width": 1.5}
            data.append(found | {"mode": "lines+markers"})
    level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target.value,
             "y1": target.value, "line": {"dash": "dash", "color": "#888888"}}  # fmt: skip
    name = "AUROC" if target.auroc else "accuracy"
    return {
        "data": data,
        "layout": {
            "xaxis": axis("seconds since the first touch of data", type="log"),
            "yaxis": axis(f"validation {name}"),
            "shapes": [level],
        },
    }


def bars(outcomes: Sequence[Outcome], values: Sequence[float], title: str) -> Chart:
    """One bar a variant."""
    data = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(values[::-1]),
        "y": [outcome.title for outcome in outcomes][::-1],
        "marker": {"color": [style_of(outcome.framework).color for outcome in outcomes][::-1]},
    }
    layout = {
        "xaxis": axis(title), "yaxis": axis(""), "showlegend": False,
        "height": 120 + 40 * len(outcomes),
    }  # fmt: skip
    return {"data": [data], "layout": layout}


def roc(outcomes: Sequence[Outcome], labels: Sequence[Label]) -> Chart:
    """One panel a label."""
    columns = min(4, len(labels))
    rows = -(-len(labels) // columns)
    layout: dict[str, Any] = {
        "grid": {"rows": rows, "columns": columns, "pattern": "independent"},
        "height": 120 + 240 * rows,
    }
    data = []
    for number, label in enumerate(labels, start=1):
        end = "" if number == 1 else str(number)
        layout[f"xaxis{end}"] = axis(label.name, range=[0, 1])
        layout[f"yaxis{end}"] = axis("", range=[0, 1])
        for outcome in outcomes:
            found = curves.roc(outcome, label.index)
            if found is not None:
                place = {"xaxis": f"x{end}", "yaxis": f"y{end}"}
                data.append(line(outcome, *found, shown=number == 1) | place)
    return {"data": data, "layout": layout}


def reliability(outcomes: Sequence[Outcome]) -> Chart:
    """Observed frequency by predicted probability."""
    data = [
        line(outcome, *found) | {"mode": "lines+markers"}
        for outcome in outcomes
        if (found := curves.reliability(outcome)) is not None
    ]
    layout = {"xaxis": axis("predicted probability"), "yaxis": axis("observed frequency")}
    return {"data": data, "layout": layout}

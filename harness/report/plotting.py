"""What all figures have in common: style, axes, legends, and SVG of the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from harness.analysis.curves import Band
from harness.analysis.run import Outcome
from harness.report.style import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 8.0
"""Inches of a figure."""
STYLE: Any = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
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


@contextmanager
def house_style() -> Iterator[None]:
    """A user's own matplotlib style must not change a report."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure) -> str:
    """The same text for the same numbers."""
    buffer = io.StringIO()
    # What `savefig` writes, which draws twice: once more for the layout.
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    fallback = "font-family: 'DejaVu Sans', Verdana, sans-serif"
    text = buffer.getvalue().replace("font-family: 'DejaVu Sans'", fallback)
    return text.replace("'DejaVu Sans';", "'DejaVu Sans', Verdana, sans-serif;")


def percent_tick(value: float, _: object) -> str:
    return f"{round(100 * value, 6):g} %"


def plain_tick(value: float, _: object) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


PERCENT = FuncFormatter(percent_tick)
PLAIN = FuncFormatter(plain_tick)


def label(text: str, longest: int = 24) -> str:
    """A name as text that matplotlib takes for no formula and that fits its plot."""
    flat = " ".join(text.split()).replace("$", r"\$")
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def rows(axes: Axes, titles: Sequence[str]) -> None:
    """A row for each title, the first on top."""
    axes.set_yticks(range(len(titles)), list(titles))
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def annotate(axes: Axes, x: float, row: float, text: str) -> None:
    """``text`` to the right of a bar."""
    axes.annotate(text, (x, row), xytext=(6, 0), textcoords="offset points", va="center")


def line(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    outcomes: Sequence[Outcome],
    index: int,
    *,
    scale: float = 1.0,
    marker: bool = False,
) -> None:
    """The line of one variant; later ones are drawn thinner, on top.

    The same numbers in every variant give the same line: only so can all of them be seen.
    """
    outcome, above = outcomes[index], len(outcomes) - 1 - index
    style = style_of(outcome.framework)
    thicker = min(1.3, 4 / max(1, len(outcomes) - 1))
    axes.plot(
        x,
        y,
        color=style.color,
        linewidth=scale * (1.4 + thicker * above),
        dashes=style.dashes or (None, None),
        marker=style.marker if marker else None,
        markersize=scale * (5 + 2 * above),
        label=outcome.title,
    )


def band(
    axes: Axes, found: Band, outcomes: Sequence[Outcome], index: int, *, marker: bool = False
) -> None:
    """Median over the seeds, and their range."""
    if len(found.values) > 1:
        low, high = found.values.min(axis=0), found.values.max(axis=0)
        color = style_of(outcomes[index].framework).color
        axes.fill_between(found.x, low, high, color=color, alpha=0.12, linewidth=0)
    line(axes, found.x, found.median, outcomes, index, marker=marker)


def legend(
    figure: Figure, outcomes: Sequence[Outcome], *, columns: int = 2, markers: bool = False
) -> None:
    """One entry a variant, above the plots; ``markers``: lines have markers and no dashes."""
    handles = [
        Line2D(
            [],
            [],
            color=style_of(outcome.framework).color,
            dashes=(not markers and style_of(outcome.framework).dashes) or (None, None),
            marker=style_of(outcome.framework).marker if markers else None,
            linewidth=2,
            label=outcome.title,
        )
        for outcome in outcomes
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, frameon=False, handlelength=4
    )

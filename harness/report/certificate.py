"""The certificate of parity in a report: what ``bench parity --run`` found."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.analysis.comparison import title_of
from harness.parity.certificate import (
    Certificate,
    FrameworkComparison,
    MaximumDeviation,
    Section,
)
from harness.report.figures import COLORS, DASHES, STYLE, WIDTH
from harness.report.text import NOTHING, escape, join, table

SMALLEST = 1e-17
"""Losses that are the same to the last bit are drawn here: a logarithm has no place for them."""


def draw(certificate: Certificate) -> dict[str, str]:
    """SVG text by the path below the run's folder; the same bytes for the same numbers."""
    with mpl.rc_context():
        mpl.rcdefaults()  # a person's own style must not change a report
        mpl.rcParams.update(STYLE)
        return {name_of(s): _svg(drift(s)) for s in certificate.sections if has_drift(s)}


def name_of(section: Section) -> str:
    """Path of its figure."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{section.dataset}-{section.model}")
    return f"figures/{stem}-parity.svg"


def has_drift(section: Section) -> bool:
    return len(section.reference_losses) > 1 and any(
        compared.single_losses or compared.double_losses for compared in section.comparisons
    )


def picture(section: Section) -> str:
    """The figure as Markdown."""
    words = (
        "Relative distance of each framework's training loss from the reference in float64: "
        f"{section.model} on {section.dataset}"
    )
    return f"![{escape(words)}]({name_of(section)})"


def verdict(certificate: Certificate) -> str:
    """One sentence that says whether all agree."""
    compared = [one for section in certificate.sections for one in section.comparisons]
    wrong = [one for one in compared if one.diagnosis or one.failure or _beyond(one)]
    if wrong:
        names = sorted({escape(title_of(one.framework)) for one in wrong})
        return f"**Not all compute the same:** {join(names)}."
    values = [
        deviation.value
        for h in compared
        for deviation in h.stages
        if deviation.tolerance is not None
    ]
    if not values:
        return "There is one framework alone, and nothing to compare it with."
    return (
        "In float64 all frameworks compute the same: the largest relative deviation from the "
        f"reference is {max(values):.1e}."
    )


def findings(certificate: Certificate) -> list[str]:
    """What is wrong, a Markdown sentence each."""
    told = []
    for section in certificate.sections:
        for compared in section.comparisons:
            where = f"{escape(title_of(compared.framework))}, {escape(section.model)} on "
            where += f"{escape(section.dataset)}: "
            if compared.failure is not None:
                told.append(f"{where}failed: {escape(compared.failure)}")
            elif compared.diagnosis is not None:
                told.append(where + escape(compared.diagnosis))
    return told


def stages(certificate: Certificate) -> str:
    """The table: the largest deviation of every stage of every framework."""
    header = [
        "Framework",
        "Network",
        "Data",
        "Stage",
        "Largest deviation",
        "Where",
        "Tolerance",
        "",
    ]
    rows = [
        [
            escape(title_of(compared.framework)),
            escape(section.model),
            escape(section.dataset),
            escape(deviation.stage),
            f"{deviation.value:.1e}",
            escape(deviation.where) or NOTHING,
            NOTHING if deviation.tolerance is None else f"{deviation.tolerance:.0e}",
            _outcome(deviation),
        ]
        for section in certificate.sections
        for compared in section.comparisons
        for deviation in compared.stages
    ]
    return table(header, rows, align="llllrlrl") if rows else ""


def pairs(certificate: Certificate) -> str:
    """The table: every two frameworks, where they are farthest apart."""
    header = ["Network", "Data", "Frameworks", "Largest deviation", "Stage", "Where"]
    rows = [
        [
            escape(section.model),
            escape(section.dataset),
            join([escape(title_of(name)) for name in pair.frameworks]),
            f"{pair.maximum.value:.1e}",
            escape(pair.maximum.stage),
            escape(pair.maximum.where) or NOTHING,
        ]
        for section in certificate.sections
        for pair in section.pairs
    ]
    return table(header, rows, align="lllrll") if rows else ""


def reduced(certificate: Certificate) -> list[str]:
    """Rows that compute in less than single precision and are compared with nothing in float64."""
    found = {
        h.framework: h.lower_precision
        for s in certificate.sections
        for h in s.comparisons
        if h.lower_precision
    }
    return [f"{escape(title_of(name))} ({escape(words)})" for name, words in found.items()]


def _beyond(compared: FrameworkComparison) -> bool:
    return any(_outcome(deviation) == "**deviates**" for deviation in compared.stages)


def _outcome(deviation: MaximumDeviation) -> str:
    if deviation.tolerance is None:
        return ""
    return "agrees" if deviation.value <= deviation.tolerance else "**deviates**"


def drift(section: Section) -> Figure:
    """How far losses drift from those of the reference in float64, both axes logarithmic."""
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    axes = figure.subplots()
    reference = np.array(section.reference_losses)
    farthest = np.zeros_like(reference)
    for place, compared in enumerate(section.comparisons):
        if compared.single_losses:
            _line(
                axes, _apart(compared.single_losses, reference), place, title_of(compared.framework)
            )
        if compared.stages and compared.double_losses:
            farthest = np.maximum(farthest, _apart(compared.double_losses, reference))
    if farthest.any():
        steps = np.arange(1, len(farthest) + 1)
        label = "all in float64: the farthest"
        axes.plot(steps, np.maximum(farthest, SMALLEST), color="#999999", linewidth=1, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    axes.set_ylabel("|loss - reference| / reference")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, handlelength=4)
    return figure


def _apart(losses: Sequence[float], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(np.array(losses) - reference) / np.abs(reference))


def _line(axes: Axes, apart: NDArray[np.float64], place: int, title: str) -> None:
    axes.plot(
        np.arange(1, len(apart) + 1),
        np.maximum(apart, SMALLEST),
        color=COLORS[place % len(COLORS)],
        dashes=DASHES[place % len(DASHES)] or (None, None),
        linewidth=1.4,
        label=title,
    )


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()

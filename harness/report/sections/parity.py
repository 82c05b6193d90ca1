"""The certificate of parity: what ``bench parity --run`` found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.analysis.run import title_of
from harness.analysis.summary import RunSummary
from harness.parity.certificate import Certificate, MaximumDeviation
from harness.parity.certificate import Section as Proven
from harness.report.section import Drawing, Section, bullets, folded, paragraphs
from harness.report.sections.answer import parity as verdict
from harness.report.style import style_of
from harness.report.text import NOTHING, escape, join, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST = 1e-17
"""Losses that are the same to the last bit are drawn here: a logarithm has no place for them."""


def body(summary: RunSummary) -> str:
    proof = summary.certificate
    outside = uncertified(summary)
    excluded = f"In no certificate: {join(outside)}." if outside else ""
    if proof is None:
        return paragraphs(verdict(summary), excluded)
    lower = lower_precision(proof)
    return paragraphs(
        f"{verdict(summary)} Made by `bench parity --run` on {proof.created}, from the initial "
        "weights and the first batches of the run's first seed, with learning rates that change "
        "from step to step, and with biases, scales and running statistics perturbed from the "
        "zeros and ones at which an error in them could not be seen. The reference is the protocol "
        "written out in NumPy, independent of every framework. The whole file is "
        "[parity.json](parity.json).",
        bullets(findings(proof)),
        f"Compared with nothing in float64: {join(lower)}." if lower else "",
        *(figure.markdown for figure in figures(summary)),
        folded(
            "Every stage: the largest difference in an array relative to the largest magnitude in "
            "the reference's",
            stages(proof),
        ),
        folded("Every two frameworks, where they are farthest apart", pairs(proof)),
        excluded,
    )


def findings(proof: Certificate) -> list[str]:
    """What is wrong, a sentence each."""
    found = []
    for section in proof.sections:
        for compared in section.comparisons:
            where = f"{escape(title_of(compared.framework))}, {escape(section.model)} on "
            where += f"{escape(section.dataset)}: "
            if compared.failure is not None:
                found.append(f"{where}failed: {escape(compared.failure)}")
            elif compared.diagnosis is not None:
                found.append(where + escape(compared.diagnosis))
    return found


def lower_precision(proof: Certificate) -> list[str]:
    """Variants that compute in less than single precision."""
    found = {
        h.framework: h.lower_precision
        for s in proof.sections
        for h in s.comparisons
        if h.lower_precision
    }
    return [f"{escape(title_of(name))} ({escape(words)})" for name, words in found.items()]


def uncertified(summary: RunSummary) -> list[str]:
    """Variants of the run that follow a protocol of their own, and the reason."""
    return [
        f"{escape(spec.title)} ({escape(spec.deviation)})"
        for spec in summary.specs.values()
        if not spec.certified
    ]


def stages(proof: Certificate) -> str:
    """The largest deviation of every stage of every framework."""
    rows = [
        [
            escape(title_of(compared.framework)),
            escape(section.model),
            escape(section.dataset),
            escape(deviation.stage),
            f"{deviation.value:.1e}",
            escape(deviation.where) or NOTHING,
            NOTHING if deviation.tolerance is None else f"{deviation.tolerance:.0e}",
            _result(deviation),
        ]
        for section in proof.sections
        for compared in section.comparisons
        for deviation in compared.stages
    ]
    header = [
        "Variant",
        "Network",
        "Data",
        "Stage",
        "Largest deviation",
        "Where",
        "Tolerance",
        "Result",
    ]
    return table(header, rows, align="llllrlrl") if rows else ""


def _result(deviation: MaximumDeviation) -> str:
    if deviation.tolerance is None:
        return ""
    return "agrees" if deviation.value <= deviation.tolerance else "**deviates**"


def pairs(proof: Certificate) -> str:
    """Every two frameworks, where they are farthest apart."""
    rows = [
        [
            escape(section.model),
            escape(section.dataset),
            join([escape(title_of(name)) for name in pair.frameworks]),
            f"{pair.maximum.value:.1e}",
            escape(pair.maximum.stage),
            escape(pair.maximum.where) or NOTHING,
        ]
        for section in proof.sections
        for pair in section.pairs
    ]
    header = ["Network", "Data", "Variants", "Largest deviation", "Stage", "Where"]
    return table(header, rows, align="lllrll") if rows else ""


def figures(summary: RunSummary) -> list[Drawing]:
    proof = summary.certificate
    if proof is None:
        return []
    return [_drawing(section) for section in proof.sections if has_losses(section)]


def _drawing(section: Proven) -> Drawing:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{section.dataset}-{section.model}")
    alt = (
        "Relative distance of each variant's training loss from the reference in float64, by step: "
        f"{section.model} on {section.dataset}"
    )
    return Drawing(f"figures/{stem}-parity.svg", alt, lambda: loss_distance(section))


def has_losses(section: Proven) -> bool:
    return len(section.reference_losses) > 1 and any(
        compared.single_losses or compared.double_losses for compared in section.comparisons
    )


def loss_distance(section: Proven) -> Figure:
    """How far losses drift from the reference's in float64, both axes logarithmic."""
    from harness.report import plotting

    figure = plotting.new_figure(3.9)
    axes = figure.subplots()
    reference = np.array(section.reference_losses)
    farthest = np.zeros_like(reference)
    for compared in section.comparisons:
        if compared.single_losses:
            apart, style = _apart(compared.single_losses, reference), style_of(compared.framework)
            axes.plot(
                np.arange(1, len(apart) + 1), np.maximum(apart, SMALLEST), color=style.color,
                dashes=style.dashes or (None, None), linewidth=1.4, 
                label=title_of(compared.framework),
            )  # fmt: skip
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


SECTION = Section(title="Do they compute the same?", body=body, figures=figures)

"""What the gate found, as sentences."""

from __future__ import annotations

from harness.analysis.gate import MOST_UNCERTAIN, MetricCheck, SpeedCheck, VariantCheck
from harness.plugins import metrics
from harness.report.text import plural

WORDS = {"failed": "FAILED", "passed": "ok", "not checked": "not checked"}


def line(found: VariantCheck, *, strict: bool = False) -> str:
    """One variant in one line of plain text; ``strict``: what was not checked has failed."""
    word = WORDS["failed" if strict and found.incomplete else found.status]
    return f"{word}: {'/'.join(found.key)}: {'; '.join(_said(found))}"


def _said(found: VariantCheck) -> list[str]:
    said = [
        f"{cell} has not run" if result is None else f"{cell} {result.outcome}: {result.error}"
        for cell, result in found.failed_cells
    ]
    if found.examples:
        ours, theirs = found.examples
        said.append(f"{ours} test images, the baseline has {theirs}")
    said += [metric_sentence(each, found.seeds) for each in found.metrics]
    if found.speed:
        said.append(speed_sentence(found.speed))
    if found.unchecked == "skipped":
        said.append(f"not checked: skipped by the run: {found.skipped}")
    elif found.unchecked:
        said.append(f"not checked: {found.unchecked}")
    return said


def metric_sentence(found: MetricCheck, seeds: tuple[int, ...]) -> str:
    """'accuracy 0.9700 is within 0.9613 to 0.9787', or outside, and what it is expected from."""
    metric = metrics().get(found.metric)
    title = found.metric if metric is None else metric.title.removeprefix("test ")
    low, mean, high = found.bounds
    if found.status == "passed":
        return f"{title} {found.value:.4f} is within {low:.4f} to {high:.4f}"
    side = "above" if found.value > high else "below"  # NaN is below
    listed = ", ".join(map(str, seeds))
    return (
        f"{title} {found.value:.4f} is {side} the expected {low:.4f} to {high:.4f} "
        f"(baseline {mean:.4f}, seeds {listed})"
    )


def speed_sentence(found: SpeedCheck) -> str:
    """The ratio and its verdict, or why there is none."""
    if found.ratio is None:
        return f"not checked: speed: {_why(found)}"
    value, low, high = found.ratio
    shown = (
        f"{value:.2f} ({low:.2f} to {high:.2f}) times the baseline's "
        f"({plural(found.starts, 'start')} against {found.baseline_starts} in "
        f"{plural(found.baseline_runs, 'run')}), relative to matrix products"
    )
    if found.reason == "slower":
        return f"speed {shown}: slower by more than a factor of {found.max_slowdown:g}"
    if found.reason == "too uncertain":
        factor = MOST_UNCERTAIN * found.max_slowdown
        return f"not checked: speed: {shown}: too uncertain to notice a factor of {factor:g}"
    hint = "; faster than the baseline: store this one with `bench baseline update --replace`"
    return f"speed {shown}{hint if found.faster else ''}"


def _why(found: SpeedCheck) -> str:
    if found.reason == "no baseline":
        return "the baseline has none"
    if found.reason == "too few rounds":
        return "the run has too few rounds, or no matrix products timed beside them"
    if found.reason == "other machine" and found.machine:
        cpu, threads, device = found.machine
        return f"the baseline has none for {cpu}, {device}, {threads} threads"
    return found.disturbance

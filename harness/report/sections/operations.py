"""Where training time goes, by operation."""

from __future__ import annotations

from harness.analysis.operations import fastest, microseconds, profiled, shares, slower
from harness.analysis.run import Workload
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.measure.operations import OPERATIONS
from harness.report.section import folded, for_workloads, paragraphs
from harness.report.text import NOTHING, escape, join, percent, table


def body(each: WorkloadSummary) -> str:
    workload = each.workload
    same = folded("The same as shares", shares_table(workload))
    return paragraphs(why(workload), microseconds_table(workload), same)


def microseconds_table(workload: Workload) -> str:
    """Microseconds of an image's training: one row an operation, one column a variant."""
    outcomes = profiled(workload)
    found = [microseconds(outcome) for outcome in outcomes]
    rows = [
        [name, *(f"{each[name]:.1f}" if each.get(name) else NOTHING for each in found)]
        for name in OPERATIONS
        if any(each.get(name) for each in found)
    ]
    total = [f"**{1e6 / outcome.speed.value:.1f}**" for outcome in outcomes]
    header = ["µs an image", *(escape(outcome.title) for outcome in outcomes)]
    return table(header, [*rows, ["**all**", *total]], align="l" + "r" * len(outcomes))


def shares_table(workload: Workload) -> str:
    """Shares of the profiled time."""
    outcomes = profiled(workload)
    found = [shares(outcome) for outcome in outcomes]
    rows = [
        [name, *(percent(each[name], 1) if each.get(name) else NOTHING for each in found)]
        for name in OPERATIONS
        if any(each.get(name) for each in found)
    ]
    header = ["Operation", *(escape(outcome.title) for outcome in outcomes)]
    return table(header, rows, align="l" + "r" * len(outcomes))


def why(workload: Workload) -> str:
    """Which is fastest, and the operations that make the difference to every other."""
    best = fastest(workload)
    if best is None or len(profiled(workload)) < 2:
        return ""
    sentences = [f"{escape(best.title)} had the highest median speed of those profiled."]
    for each in slower(workload):
        if each.operations:
            parts = [f"{name} ({more:.1f} µs more)" for name, more in each.operations]
            sentences.append(
                f"{escape(each.outcome.title)} takes {each.microseconds:.1f} µs more for an image; "
                f"most of it in {join(parts)}."
            )
    return " ".join(sentences)


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Operations**: from each framework's own profiler, each kernel counted once. What a "
        "compiler fuses is counted under the operation that dominates it, or under other."
    ]


SECTION = for_workloads(
    title="Where the time goes",
    applies=lambda each: bool(profiled(each.workload)),
    body=body,
    terms=terms,
    intro="Some steps under each framework's own profiler, its kernels sorted under common names, "
    "forward and backward together. Shares are of the profiled time; times are these shares of the "
    "speed measured without a profiler.",
)

"""Where the time goes: seconds by operation, under common names."""

from __future__ import annotations

from harness.analysis.comparison import Group, Outcome
from harness.measure.operations import OPERATIONS, Operation
from harness.report.text import NOTHING, escape, join, percent, table

MEANT = 0.10
"""Shares below are not named in the sentence."""


def operations(outcome: Outcome) -> dict[Operation, float]:
    """Seconds, of the seed that was profiled; empty where none was."""
    for cell in outcome.trained.values():
        if cell.result.operations:
            return cell.result.operations
    return {}


def profiled(group: Group) -> tuple[Outcome, ...]:
    """Frameworks that have a profile."""
    return tuple(outcome for outcome in group.finished if operations(outcome))


def shares(outcome: Outcome) -> dict[Operation, float]:
    """Of the profiled time; they sum to 1."""
    seconds = operations(outcome)
    total = sum(seconds.values())
    return {name: seconds.get(name, 0.0) / total for name in OPERATIONS} if total > 0 else {}


def shares_table(group: Group) -> str:
    """One row an operation that anyone spends time on, one column a framework."""
    outcomes = profiled(group)
    rows = []
    for name in OPERATIONS:
        found = [shares(outcome).get(name, 0.0) for outcome in outcomes]
        if max(found) > 0:
            cells = [percent(share, 1) if share else NOTHING for share in found]
            rows.append([name, *cells])
    header = ["Operation", *(escape(outcome.title) for outcome in outcomes)]
    return table(header, rows, align="l" + "r" * len(outcomes))


def microseconds(group: Group) -> str:
    """Speed and shares together: microseconds of an image's training that each operation takes."""
    outcomes = profiled(group)
    rows = []
    for name in OPERATIONS:
        found = [1e6 / outcome.speed.value * shares(outcome).get(name, 0.0) for outcome in outcomes]
        if max(found) > 0:
            rows.append([name, *(f"{value:.1f}" if value else NOTHING for value in found)])
    total = [f"**{1e6 / outcome.speed.value:.1f}**" for outcome in outcomes]
    header = ["µs an image", *(escape(outcome.title) for outcome in outcomes)]
    return table(header, [*rows, ["**all**", *total]], align="l" + "r" * len(outcomes))


def why(group: Group) -> str:
    """Which is fastest, and the operations that make the difference to every other."""
    outcomes = profiled(group)
    if len(outcomes) < 2:
        return ""
    fastest = max(outcomes, key=lambda outcome: outcome.speed.value)
    sentences = [f"{escape(fastest.title)} had the highest median speed of those profiled."]
    for outcome in outcomes:
        if outcome is fastest:
            continue
        own, best = (
            {name: 1e6 / o.speed.value * share for name, share in shares(o).items()}
            for o in (outcome, fastest)
        )
        more = {name: own[name] - best[name] for name in OPERATIONS}
        lost = sum(more.values())
        largest = sorted(
            (name for name in OPERATIONS if more[name] > MEANT * lost),
            key=lambda name: -more[name],
        )[:3]
        if lost > 0 and largest:
            parts = [f"{name} ({more[name]:.1f} µs more)" for name in largest]
            sentences.append(
                f"{escape(outcome.title)} takes {lost:.1f} µs more for an image; most of it in "
                f"{join(parts)}."
            )
    return " ".join(sentences)

"""Where training time goes: shares of common operations, from each framework's profiler."""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.run import Outcome, Workload
from harness.measure.operations import OPERATIONS, Operation

MEANT = 0.10
"""Shares of a difference below which an operation is not named as its cause."""
MOST_NAMED = 3
"""Operations that are named as the cause of a difference."""


@dataclass(frozen=True)
class Slower:
    """What one variant spends more time on than the fastest one."""

    outcome: Outcome
    microseconds: float
    """For one image, in all."""
    operations: tuple[tuple[Operation, float], ...]
    """Those that make the difference, and their microseconds more, largest first."""


def operations(outcome: Outcome) -> dict[Operation, float]:
    """Seconds, of the seed that was profiled; empty where none was."""
    for cell in outcome.trained.values():
        if cell.result.operations:
            return cell.result.operations
    return {}


def profiled(workload: Workload) -> tuple[Outcome, ...]:
    """Variants that have a profile."""
    return tuple(outcome for outcome in workload.finished if operations(outcome))


def shares(outcome: Outcome) -> dict[Operation, float]:
    """Of the profiled time; they sum to 1."""
    seconds = operations(outcome)
    total = sum(seconds.values())
    return {name: seconds.get(name, 0.0) / total for name in OPERATIONS} if total > 0 else {}


def microseconds(outcome: Outcome) -> dict[Operation, float]:
    """For one image, by operation: shares of the time measured without a profiler."""
    return {name: 1e6 / outcome.speed.value * share for name, share in shares(outcome).items()}


def fastest(workload: Workload) -> Outcome | None:
    """Of those that were profiled."""
    return max(profiled(workload), key=lambda outcome: outcome.speed.value, default=None)


def slower(workload: Workload) -> list[Slower]:
    """Every other profiled variant against the fastest."""
    best = fastest(workload)
    found = []
    for outcome in profiled(workload):
        if best is None or outcome is best:
            continue
        own, least = microseconds(outcome), microseconds(best)
        more = {name: own.get(name, 0.0) - least.get(name, 0.0) for name in OPERATIONS}
        lost = sum(more.values())
        named = [name for name in OPERATIONS if lost > 0 and more[name] > MEANT * lost]
        named = sorted(named, key=lambda name: -more[name])[:MOST_NAMED]
        found.append(Slower(outcome, lost, tuple((name, more[name]) for name in named)))
    return found

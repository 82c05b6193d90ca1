"""Rounds that other work on the machine disturbed are measured again, for every framework.

A turn is one round of every framework. It is disturbed when one of its rounds is, by the measured
load alone (``harness.measure.conditions.is_disturbed``), never by the speed. It is then measured
again as a whole, so that the rounds that are compared with each other stay neighbours in time; of
all attempts the one with the least other load counts.

An epoch is measured again after the training has ended and been evaluated, from the initial
weights, on the same batches in the same order; only its seconds and conditions are replaced. So
repeating changes no bit of what was trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.execution.cell import CellRun
from harness.measure.interleave import rotated
from harness.results.records import Epoch, Round

REPEATS = 3
"""A turn is measured again at most so often; all turns together at most as often as there are."""


def repeat_disturbed(runs: Sequence[CellRun]) -> None:
    """Measure the turns again that were disturbed in this session.

    A worker that fails meanwhile costs its repeats alone.
    """
    left = turns = max((len(run.result.rounds) for run in runs if run.result), default=0)
    for _ in range(REPEATS):
        for turn in range(turns):
            before = {run: each for run in runs if (each := run.timed_here(turn)) is not None}
            if not left or not any(each.disturbed for each in before.values()):
                continue
            left -= 1
            again = {run: run.time_again(turn) for run in rotated(list(before), turn)}
            timed = {run: each for run, each in again.items() if each is not None}
            quieter = _load(timed.values()) < _load(before[run] for run in timed)
            for run, each in timed.items():
                run.note_repeat(turn, each if quieter else None)


def _load(rounds: Iterable[Epoch | Round]) -> float:
    """The most that other work kept busy in one of ``rounds``."""
    known = [each.conditions.other_load for each in rounds if each.conditions is not None]
    return max((load for load in known if load is not None), default=0.0)

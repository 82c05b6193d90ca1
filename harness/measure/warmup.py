"""Untimed work before the clock is read, and how often it is read.

Everything that is timed runs at least once beforehand, in the shapes that are timed. Training
warms up until it is steady, by a rule that looks at its speed alone; so the first epoch counts
like every other one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

STEADY_PASSES = 4
"""So many passes in a row must agree."""
STEADY_RANGE = 0.1
"""Difference of their fastest and slowest, as a share of their median, that counts as agreement."""
PASS_S = 0.5
"""A pass takes about this long, or one epoch if that is shorter."""
LIMIT_S = 10.0
LIMIT_PASSES = 20
"""Whichever comes first: after it no further pass is begun."""
TRIAL_STEPS = 4


class WarmUp(BaseModel):
    """What was trained before the clock was read for the first time; its effect was undone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    steps: int
    steady: bool
    """Whether the last passes agreed; otherwise the limit was reached first."""


def until_steady(train: Callable[[int], float], steps: int, multiple: int = 1) -> WarmUp:
    """Train until ``STEADY_PASSES`` passes in a row agree, or to the limit.

    ``train`` takes a number of steps, at most ``steps``, and returns the seconds they took. It is
    called with multiples of ``multiple``, or with all steps.
    """

    def allowed(wanted: float) -> int:
        return min(steps, multiple * max(1, math.ceil(wanted / multiple)))

    trial = allowed(TRIAL_STEPS)
    train(trial)  # it may do things that are done once
    spent, done = train(trial), trial
    size = allowed(PASS_S * trial / max(spent, 1e-9))
    passes: list[float] = []
    steady = False
    while not steady and spent < LIMIT_S and len(passes) < LIMIT_PASSES:
        passes.append(train(size))
        spent, done = spent + passes[-1], done + size
        last = passes[-STEADY_PASSES:]
        steady = len(last) == STEADY_PASSES and np.ptp(last) <= STEADY_RANGE * np.median(last)
    return WarmUp(seconds=spent, steps=done, steady=bool(steady))


@dataclass(frozen=True)
class InferenceBudget:
    """How often a batch is computed: ``least`` times whatever it takes, then until time is up."""

    warm_up_calls: int = 3
    warm_up_s: float = 0.2
    least: int = 30
    """Enough for a 90th percentile; see :meth:`harness.results.records.Latency.percentile`."""
    most: int = 300
    """Enough for a 99th percentile."""
    seconds: float = 1.0
    """After which no call beyond ``least`` is begun."""


def timed_calls(
    call: Callable[[], object], *, least: int, most: int | None, seconds: float
) -> list[float]:
    """Seconds of each of at least ``least`` calls, and of up to ``most`` while time is left."""
    timed: list[float] = []
    until = time.perf_counter() + seconds
    while len(timed) < least or (
        (most is None or len(timed) < most) and time.perf_counter() < until
    ):
        start = time.perf_counter()
        call()
        timed.append(time.perf_counter() - start)
    return timed

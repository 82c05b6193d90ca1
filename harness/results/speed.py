"""How fast a run was, and how surely two runs differ.

Rounds of one run look alike because the machine is in one mood while they last; an hour later it
is in another. So more rounds do not make a run's speed more certain the way more rounds of a coin
do, and an interval that resamples rounds is many times too narrow between runs. Here a run is one
draw: its standard error is the spread of its rounds, or of its trainings where that is larger,
never divided by their number, and never less than ``RUN_TO_RUN``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.measure.statistics import CONFIDENCE, Estimate
from harness.results.records import CellResult

MINIMUM_ROUNDS = 6
"""With fewer, a spread says too little to judge by."""
RUN_TO_RUN = 0.06
"""Standard error, as a share of the speed, that even the steadiest run is given."""
RUN_TO_RUN_RAW = 0.20
"""The same where speeds are not divided by that of a matrix product."""
CORRECTION_ERROR = 0.35
"""Standard error of the correction by matrix products, as a share of its logarithm: a network does
not slow down exactly as a matrix product does."""


@dataclass(frozen=True)
class Speed:
    """Training speed of one framework, network and data set."""

    log: float
    """Natural logarithm of images/s, or of images for 1e9 operations of a matrix product: median
    of the rounds of each training, mean over the trainings."""
    error: float
    """Standard error of ``log``."""
    rounds: int
    gemm_log: float | None
    """Of the speed of matrix products (1e9 operations a second), where speeds are divided by it."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of ``error``: neighbours resemble each other, so two count as one."""
        return max(1.0, self.rounds / 2 - 1)

    @property
    def enough(self) -> bool:
        return self.rounds >= MINIMUM_ROUNDS


def has_gemm(results: Iterable[CellResult], device: str) -> bool:
    """Whether the speed of a matrix product, where training runs, was taken before every round."""
    rounds = [each for result in results for each in result.rounds]
    known = bool(rounds) and all(each.conditions is not None for each in rounds)
    return known and device == "cpu"  # on processors is where it is taken


def speed_of(results: Sequence[CellResult], *, normalise: bool) -> Speed:
    """Speed in one run, over all its trainings, each of which has rounds; see :func:`has_gemm`."""
    gemm = [_gemm(result) if normalise else np.zeros(len(result.rounds)) for result in results]
    logs = [np.log(r.images_per_second) - g for r, g in zip(results, gemm, strict=True)]
    centres = np.array([np.median(log) for log in logs])
    about = np.concatenate([log - np.median(log) for log in logs])
    # The quartiles, because one slow round, perhaps the first, is no mood.
    within = float(stats.iqr(about, scale="normal"))
    between = float(centres.std(ddof=1)) if len(centres) > 1 else 0.0
    return Speed(
        log=float(centres.mean()),
        error=max(within, between, RUN_TO_RUN if normalise else RUN_TO_RUN_RAW),
        rounds=sum(map(len, logs)),
        gemm_log=float(np.median(np.concatenate(gemm))) if normalise else None,
    )


def ratio(speed: Speed, base: Speed) -> Estimate:
    """``speed`` over ``base``; without an interval where either has too few rounds."""
    log = speed.log - base.log
    if not (speed.enough and base.enough):
        return interval(log, [])
    parts = [(each.error, each.freedom) for each in (speed, base)]
    if speed.gemm_log is not None and base.gemm_log is not None:
        parts.append((CORRECTION_ERROR * abs(speed.gemm_log - base.gemm_log), math.inf))
    return interval(log, parts)


def ratio_to_runs(speed: Speed, runs: Sequence[Speed]) -> Estimate:
    """``speed`` over the mean of several normalised ``runs`` of one thing.

    Where these differ from each other by more than each of them let expect, all of them, and
    ``speed`` too, are known no better than that.
    """
    logs = np.array([run.log for run in runs])
    apart = float(logs.std(ddof=1)) if len(runs) > 1 else 0.0
    own = math.sqrt(np.mean([run.error**2 for run in runs]))
    base = Speed(
        log=float(logs.mean()),
        error=max(own, apart) / math.sqrt(len(runs)),
        rounds=sum(run.rounds for run in runs),
        gemm_log=float(np.mean([run.gemm_log for run in runs])),
    )
    return ratio(replace(speed, error=max(speed.error, apart)), base)


def interval(log: float, parts: Sequence[tuple[float, float]]) -> Estimate:
    """``exp(log)`` with the interval of independent errors (Welch and Satterthwaite).

    ``parts`` are standard errors and their degrees of freedom; without any there is no interval.
    """
    if not parts:
        return Estimate(math.exp(log), math.nan, math.nan)
    squares = np.array([error**2 for error, _ in parts])
    freedoms = np.array([freedom for _, freedom in parts])
    variance = float(squares.sum())
    fourth = float((squares**2 / freedoms).sum())
    freedom = variance**2 / fourth if fourth > 0 else math.inf
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    reach = quantile * math.sqrt(variance)
    return Estimate(math.exp(log), math.exp(log - reach), math.exp(log + reach))


def geometric_mean(ratios: Sequence[Estimate]) -> Estimate:
    """Of ratios that all have an interval.

    The rows of one run share the machine's mood, so their errors are taken as going together: the
    interval is the mean of theirs, and no narrower for there being many rows.
    """
    value, low, high = np.exp(np.log(np.array(ratios)).mean(axis=0))
    return Estimate(float(value), float(low), float(high))


def _gemm(result: CellResult) -> NDArray[np.float64]:
    """Logarithms, round by round."""
    return np.log([each.conditions.gemm_gflops for each in result.rounds if each.conditions])

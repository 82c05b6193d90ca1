"""How fast a run was, and how surely two runs differ.

The unit is the fresh start: new processes of all frameworks, warmed up, then interleaved rounds.
Rounds of one start look alike because one state of the machine and one layout of memory last
through it, so more rounds do not make a speed more certain the way more starts do. Intervals
between runs come from the spread of starts, with as many degrees of freedom as there are starts
beyond one for each side; where each side has a single start, that spread is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.measure.conditions import mean_other_load
from harness.results.records import CellResult, Epoch, Round, counted_rounds
from harness.stats.statistics import (
    AUTOCORRELATION,
    MEDIAN_ERROR,
    Centre,
    Estimate,
    centre_of,
    exponential,
)

MINIMUM_ROUNDS = 6
"""With fewer, no interval of a speed is given."""
BUSY = 0.25
"""Share of the cores given that other work may use where a difference in speed is still claimed:
threads that wait for each other lose far more to it than a matrix product does."""
RUN_TO_RUN = 0.04
"""Standard deviation from start to start, as a share of the speed, that is assumed where both
sides have one start."""
RUN_TO_RUN_RAW = 0.20
"""The same where speeds are not divided by that of a matrix product."""
DRIFT = 0.02
"""Standard deviation from run to run beyond that from start to start within a run."""
DRIFT_RAW = 0.04
"""The same where speeds are not divided by that of a matrix product."""
CORRECTION_ERROR = 0.35
"""Standard error of the correction by matrix products, as a share of its logarithm: a network does
not slow down exactly as a matrix product does."""


def log_speeds(rounds: Iterable[Epoch | Round]) -> NDArray[np.float64]:
    """Natural logarithms of images a second."""
    return np.log([each.images / each.seconds for each in rounds])


def speed_estimate(starts: list[NDArray[np.float64]], *, comparisons: int = 1) -> Estimate:
    """Of logarithms, round by round of every start; no interval where the rounds are too few."""
    estimate = exponential(centre_of(starts), comparisons=comparisons)
    if sum(map(len, starts)) < MINIMUM_ROUNDS:
        return Estimate(estimate.value, math.nan, math.nan)
    return estimate


@dataclass(frozen=True)
class Speed:
    """Training speed of one framework, network and data set in one run."""

    logs: tuple[float, ...]
    """Natural logarithm of images/s, or of images for 1e9 operations of a matrix product, for
    every fresh start: the median of its rounds."""
    within: float
    """Standard deviation of the rounds about the median of their start, by the quartiles."""
    rounds: int
    gemm_log: float | None
    """Of the speed of matrix products (1e9 operations a second), where speeds are divided by it."""

    @property
    def log(self) -> float:
        return float(np.mean(self.logs))

    @property
    def noise(self) -> float:
        """Variance of the median of one start that its rounds alone explain."""
        inflation = (1 + AUTOCORRELATION) / (1 - AUTOCORRELATION)
        return inflation * (MEDIAN_ERROR * self.within) ** 2 * len(self.logs) / self.rounds

    @property
    def enough(self) -> bool:
        return self.rounds >= MINIMUM_ROUNDS


def has_gemm(results: Iterable[CellResult], device: str) -> bool:
    """Whether the speed of a matrix product, where training runs, was taken before every round."""
    rounds = [each for result in results for start in result.starts for each in start]
    known = bool(rounds) and all(each.conditions is not None for each in rounds)
    return known and device == "cpu"  # on processors is where it is taken


def other_load(results: Iterable[CellResult]) -> float | None:
    """Cores that other work used during the rounds that count, mean; None where not measured."""
    return mean_other_load(
        (each.seconds, each.conditions) for start in counted_rounds(results) for each in start
    )


def speed_of(results: Sequence[CellResult], *, normalise: bool) -> Speed:
    """Speed in one run, over all its starts; ``normalise`` only what :func:`has_gemm`."""
    starts = counted_rounds(results)
    gemm = [_gemm(start) if normalise else np.zeros(len(start)) for start in starts]
    logs = [log_speeds(start) - own for start, own in zip(starts, gemm, strict=True)]
    about = np.concatenate([log - np.median(log) for log in logs])
    return Speed(
        logs=tuple(float(np.median(log)) for log in logs),
        within=float(stats.iqr(about, scale="normal")),
        rounds=sum(map(len, logs)),
        gemm_log=float(np.median(np.concatenate(gemm))) if normalise else None,
    )


def ratio(speed: Speed, base: Speed, *, comparisons: int = 1) -> Estimate:
    """``speed`` over ``base``; without an interval where either has too few rounds."""
    return ratio_to_runs(speed, [base], comparisons=comparisons)


def ratio_to_runs(speed: Speed, runs: Sequence[Speed], *, comparisons: int = 1) -> Estimate:
    """``speed`` over the mean of the starts of ``runs`` of one thing; all normalised, or none.

    The starts of both sides are taken to spread alike (pooled variance). The intervals of all
    ``comparisons`` hold together (Bonferroni). No interval where the rounds are too few.
    """
    own = np.array(speed.logs)
    base = np.concatenate([run.logs for run in runs])
    log = float(own.mean() - base.mean())
    if not (speed.enough and all(run.enough for run in runs)):
        return Estimate(math.exp(log), math.nan, math.nan)
    normalised = speed.gemm_log is not None
    degrees: float = len(own) + len(base) - 2
    if degrees:
        squares = ((own - own.mean()) ** 2).sum() + ((base - base.mean()) ** 2).sum()
        # Starts that happen to agree are not better known than their rounds allow.
        variance = max(float(squares) / degrees, speed.noise, *(run.noise for run in runs))
        drift = DRIFT if normalised else DRIFT_RAW
        known = drift**2 * (1 + 1 / len(runs))
    else:
        within = max(speed.within, runs[0].within)
        assumed = RUN_TO_RUN if normalised else RUN_TO_RUN_RAW
        variance, known = max(assumed, within) ** 2, 0.0
        # Seen in the rounds, of which two neighbours count as one; else it is an assumption.
        rounds = speed.rounds + runs[0].rounds
        degrees = max(1.0, rounds / 2 - 2) if within > assumed else math.inf
    variance *= 1 / len(own) + 1 / len(base)
    if speed.gemm_log is not None:
        machine = speed.gemm_log - float(np.mean([run.gemm_log for run in runs]))
        known += (CORRECTION_ERROR * machine) ** 2
    return exponential(_sum(log, variance, degrees, known), comparisons=comparisons)


def _sum(log: float, variance: float, degrees: float, known: float) -> Centre:
    """An estimated variance and a known one (Satterthwaite 1946)."""
    total = variance + known
    degrees_ = degrees * (total / variance) ** 2 if variance > 0 else math.inf
    return Centre(log, math.sqrt(total), degrees_)


def geometric_mean(ratios: Sequence[Estimate]) -> Estimate:
    """Of ratios that all have an interval.

    The variants of one run share the state of the machine, so their errors are taken as going
    together: the interval is the mean of theirs, and no narrower for there being many variants.
    """
    value, low, high = np.exp(np.log(np.array(ratios)).mean(axis=0))
    return Estimate(float(value), float(low), float(high))


def _gemm(rounds: Iterable[Epoch | Round]) -> NDArray[np.float64]:
    """Logarithms, round by round."""
    return np.log([each.conditions.gemm_gflops for each in rounds if each.conditions])

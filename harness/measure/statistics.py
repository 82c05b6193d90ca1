"""Intervals for what was measured; the formulas are SciPy's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value and its confidence interval; ``low`` and ``high`` are NaN where none can be had."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def median(samples: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """Median of ``samples`` (n,) with a percentile-bootstrap interval.

    Fewer than three samples carry no interval. The resampling is seeded: a report rendered twice
    is the same report. (Efron & Tibshirani 1993, ch. 13; the percentile method, because BCa is
    undefined for a median whose jackknife values coincide.)
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        return Estimate(np.nan, np.nan, np.nan)
    centre = float(np.median(values))
    if values.size < 3:
        return Estimate(centre, np.nan, np.nan)
    interval = stats.bootstrap(
        (values,),
        np.median,
        confidence_level=confidence,
        method="percentile",
        n_resamples=4000,
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(centre, float(interval.low), float(interval.high))


def paired_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Median of ``numerator / denominator`` (n,) taken round by round, with its interval.

    Both were measured in turns, so a slow moment of the machine cancels in each pair.
    """
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)
    if above.shape != below.shape:
        raise ValueError(f"rounds do not pair: {above.shape} against {below.shape}")
    return median(above / below)


def proportion(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """Share of successes with the exact binomial interval (Clopper & Pearson 1934)."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def mean_accuracy(correct: ArrayLike, examples: int) -> Estimate:
    """Mean accuracy of several seeds on one test split of ``examples`` images.

    The interval is the exact binomial one of a single evaluation at the mean: every seed answers
    the same test images, so pooling them as independent trials would claim too much.
    """
    counts = np.asarray(correct, dtype=np.float64)
    interval = proportion(round(float(counts.mean())), examples)
    return Estimate(float(counts.mean()) / examples, interval.low, interval.high)


class PairedTest(NamedTuple):
    """Two classifiers on the same examples: how often only one is right, and the p-value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> PairedTest:
    """Exact two-sided McNemar test on boolean arrays (n,) (McNemar 1947; binomial form).

    Only examples that one gets right and the other wrong tell them apart; were both equally good,
    each such example would fall either way like a fair coin. Without any, p is 1.
    """
    first = np.asarray(first_correct, dtype=bool)
    second = np.asarray(second_correct, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"examples do not pair: {first.shape} against {second.shape}")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return PairedTest(only_first, only_second, p)

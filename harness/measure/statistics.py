"""Intervals for what was measured; the formulas are SciPy's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

CONFIDENCE = 0.95
RESAMPLES = 1000
"""Of a bootstrap over patients; enough for the two decimal places that such an interval carries."""
MINIMUM_CARRIERS = 5
"""Patients with a label, and without it, below which its resamples say nothing of its spread."""


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


def resampled_aurocs(
    scores: NDArray[np.floating[Any]],
    labels: NDArray[Any],
    groups: NDArray[Any] | None = None,
    *,
    resamples: int = RESAMPLES,
) -> NDArray[np.float64]:
    """Areas under the ROC curves of bootstrap samples, (resamples, L).

    ``scores`` and ``labels`` are (N, L). Whole ``groups`` (N,) are drawn with replacement, as many
    as there are: pictures of one patient resemble each other, so drawing single ones would promise
    too much (Field & Welsh 2007). Without groups every image is one of its own.

    The draws depend on the number of groups alone, so that networks tested on the same images are
    resampled alike and may be subtracted row by row. NaN where a sample has no positives or no
    negatives of a label, or a score is NaN.
    """
    size = len(labels)
    names, member = np.unique(np.arange(size) if groups is None else groups, return_inverse=True)
    counts = _draws(len(names), resamples)
    columns = [
        _weighted_aurocs(score, label, member, counts)
        for score, label in zip(scores.T, labels.T.astype(bool), strict=True)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((resamples, 0))


@lru_cache(maxsize=4)
def _draws(groups: int, resamples: int) -> NDArray[np.float64]:
    """How often each group is in each bootstrap sample (groups, resamples)."""
    drawn = np.random.default_rng(0).integers(0, groups, (resamples, groups))
    counts = np.stack([np.bincount(row, minlength=groups) for row in drawn], axis=1)
    return counts.astype(np.float64)


def _weighted_aurocs(
    score: NDArray[np.floating[Any]],
    label: NDArray[np.bool_],
    member: NDArray[np.intp],
    counts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(resamples,): share of pairs in which the positive has the higher score; a tie is half."""
    if np.isnan(score).any() or label.all() or not label.any():
        return np.full(counts.shape[1], np.nan)
    # Negatives fall into bins between the distinct scores of the positives, or onto these: bin
    # 2k + 1 holds those equal to the k-th of them, bin 2k those between it and the one before.
    levels, level = np.unique(score[label], return_inverse=True)
    negative = score[~label]
    bins = np.searchsorted(levels, negative, "left") + np.searchsorted(levels, negative, "right")
    entries = np.ones(len(negative)), (bins, member[~label])
    drawn = np.asarray(sparse.csr_array(entries, shape=(2 * len(levels) + 1, len(counts))) @ counts)
    up_to = np.cumsum(drawn, axis=0)
    entries = np.ones(len(level)), (level, member[label])
    positives = np.asarray(sparse.csr_array(entries, shape=(len(levels), len(counts))) @ counts)
    below, ties = up_to[:-1:2], drawn[1::2]
    won = (positives * (below + ties / 2)).sum(axis=0)
    pairs = positives.sum(axis=0) * up_to[-1]
    with np.errstate(invalid="ignore"):
        return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def carriers(labels: NDArray[Any], groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """For every label (L,) of ``labels`` (N, L), in how many groups it occurs, or in how many its
    absence occurs, whichever is less."""
    member = np.arange(len(labels)) if groups is None else groups
    counted = [min(len(np.unique(member[label == kind])) for kind in (0, 1)) for label in labels.T]
    return np.array(counted, dtype=np.int64)


def percentile_interval(
    value: float, resampled: NDArray[np.float64], *, confidence: float = CONFIDENCE
) -> Estimate:
    """``value`` with the percentile interval of ``resampled`` (n,), undefined ones left out.

    No interval where the value or all of its resamples are undefined.
    """
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or known.size == 0:
        return Estimate(value, math.nan, math.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return Estimate(value, float(low), float(high))


def normal_interval(
    value: float, resampled: NDArray[np.float64], *, tests: int = 1, confidence: float = CONFIDENCE
) -> Estimate:
    """``value`` plus and minus its bootstrap standard error times a normal quantile.

    The intervals of ``tests`` values hold all of these at once with at least ``confidence``
    (Bonferroni): percentiles that far out would need many more resamples (Efron & Tibshirani
    1993, ch. 13).
    """
    known = resampled[~np.isnan(resampled)]
    if math.isnan(value) or known.size < 2:
        return Estimate(value, math.nan, math.nan)
    reach = float(stats.norm.isf((1 - confidence) / (2 * tests)) * known.std(ddof=1))
    return Estimate(value, value - reach, value + reach)

"""Whether rounds can be trusted: drift, two speeds, outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

TREND_SIGNIFICANCE = 0.01
"""For each test: a report makes many of them."""
DRIFT = 0.05
"""Smaller changes over a training are not worth a warning."""
TREND_ROUNDS = 10
"""Fewer say nothing of a trend or of two speeds."""
SEPARATION = 2.0
"""Ashman's D, above which two normal components are clearly apart (Ashman et al. 1994)."""
EVIDENCE = 10.0
"""Difference of the Bayesian information criterion, 'very strong' (Kass & Raftery 1995)."""
FLOOR = 1e-5
"""Least variance of a component, in units of the median squared."""
ITERATIONS, TOLERANCE = 100, 1e-3
"""Of expectation maximisation: most steps, and the gain in mean log-likelihood that ends it."""
NORMAL = 0.6745
"""Median absolute deviation of the standard normal distribution."""
OUTLYING = 3.5
"""Modified z-score of an outlier (Iglewicz & Hoaglin 1993)."""


class TwoSpeeds(NamedTuple):
    """Means of two clusters of rounds and the share of the slower one."""

    slower: float
    faster: float
    share: float


def drift(speeds: NDArray[np.float64]) -> float | None:
    """Relative change from first to last of ``speeds`` (n,), or None if no trend is shown.

    Theil-Sen slope, which single slow rounds do not move, where Kendall's tau is significant.
    """
    if speeds.size < TREND_ROUNDS:
        return None
    places = np.arange(speeds.size)
    rises = np.triu(np.sign(speeds - speeds[:, None]), 1).sum()
    variance = speeds.size * (speeds.size - 1) * (2 * speeds.size + 5) / 18
    # Within two standard deviations no test is significant, and most are. Equal rounds make the
    # variance smaller, by a quarter where there are but two speeds.
    if rises**2 < 4 * variance:
        return None
    if not stats.kendalltau(places, speeds).pvalue < TREND_SIGNIFICANCE:
        return None
    line = stats.theilslopes(speeds, places)
    change = float(line.slope) * (speeds.size - 1) / float(line.intercept)
    return change if abs(change) > DRIFT else None


def two_speeds(speeds: NDArray[np.float64]) -> TwoSpeeds | None:
    """Two clusters in ``speeds`` (n,), each of a fifth of the rounds at least; None: one will do.

    A mixture of two normal distributions against a single one.
    """
    return two_speeds_of_each([speeds])[0]


def two_speeds_of_each(trainings: Sequence[NDArray[np.float64]]) -> list[TwoSpeeds | None]:
    """The same of many trainings; those with as many rounds are computed together."""
    found: list[TwoSpeeds | None] = [None] * len(trainings)
    by_rounds: dict[int, list[int]] = {}
    for place, speeds in enumerate(trainings):
        # The means lie within the range, and would be no further apart.
        if speeds.size >= TREND_ROUNDS and np.ptp(speeds) > DRIFT * np.median(speeds):
            by_rounds.setdefault(speeds.size, []).append(place)
    for places in by_rounds.values():
        together = np.stack([trainings[place] for place in places])
        medians = np.median(together, axis=1)
        # In units of the median, and never so narrow that a few equal rounds count as a cluster.
        values = together / medians[:, None]
        gains = _one_normal(values) - (two := _two_normals(values)).bic
        for n, place in enumerate(places):
            if gains[n] >= EVIDENCE:
                found[place] = _apart(medians[n], two.weights[n], two.means[n], two.variances[n])
    return found


def _apart(
    median: float,
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> TwoSpeeds | None:
    """The two components (2,), in units of the median, if they are clearly apart."""
    between = float(np.ptp(means))
    distance = math.sqrt(2) * between / math.sqrt(variances.sum())
    if weights.min() < 0.2 or distance < SEPARATION or between < DRIFT:
        return None
    order = means.argsort()
    low, high = median * means[order]
    return TwoSpeeds(float(low), float(high), float(weights[order[0]]))


class _Mixtures(NamedTuple):
    """Two normal distributions for each training, (c, 2), and the Bayesian information criterion
    (c,)."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    bic: NDArray[np.float64]


def _one_normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bayesian information criterion (c,) of a single normal distribution for ``values`` (c, n)."""
    means = values.mean(axis=1, keepdims=True)
    logs = _log_density(values, means, values.var(axis=1, keepdims=True) + FLOOR)
    criterion: NDArray[np.float64] = -2 * logs.sum(axis=1) + 2 * math.log(values.shape[1])
    return criterion


def _two_normals(values: NDArray[np.float64]) -> _Mixtures:
    """Expectation maximisation for every row of ``values`` (c, n), from the split into two runs of
    sorted values that explains most of the variance, as scikit-learn's GaussianMixture does it; its
    import would take a second."""
    count, rounds = values.shape
    ordered = np.sort(values, axis=1)
    sizes = np.arange(1, rounds)
    sums = ordered.cumsum(axis=1)[:, :-1]
    between = (sums / sizes - ordered.mean(axis=1, keepdims=True)) ** 2 * sizes / (rounds - sizes)
    limits = np.take_along_axis(ordered, between.argmax(axis=1)[:, None], axis=1)
    shares = np.stack([values <= limits, values > limits], axis=1).astype(float)
    pairs = np.empty((3, count, 2))
    found = _Mixtures(pairs[0], pairs[1], pairs[2], np.empty(count))
    previous = np.full(count, -math.inf)
    running = np.arange(count)  # rows that still improve
    for _ in range(ITERATIONS):
        each = values[running, None]
        counts = shares.sum(axis=2) + 1e-12
        means = (shares * each).sum(axis=2) / counts
        variances = (shares * (each - means[..., None]) ** 2).sum(axis=2) / counts + FLOOR
        weights = counts / counts.sum(axis=1, keepdims=True)
        logs = np.log(weights)[..., None] + _log_density(
            each, means[..., None], variances[..., None]
        )
        total = np.logaddexp(logs[:, 0], logs[:, 1])
        shares = np.exp(logs - total[:, None])
        criteria = -2 * total.sum(axis=1) + 5 * math.log(rounds)
        for kept, now in zip(found, (weights, means, variances, criteria), strict=True):
            kept[running] = now
        more = total.mean(axis=1) - previous >= TOLERANCE
        if not more.any():
            break
        running, shares, previous = running[more], shares[more], total.mean(axis=1)[more]
    return found


def _log_density(
    values: NDArray[np.float64], mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of normal distributions; SciPy's takes ten times as long for a few values."""
    density: NDArray[np.float64] = (values - mean) ** 2 / variance + np.log(2 * np.pi * variance)
    return -density / 2


def outliers(speeds: NDArray[np.float64]) -> int:
    """How many of ``speeds`` (n,) lie far from the median, by the modified z-score."""
    if speeds.size < TREND_ROUNDS:
        return 0
    median = float(np.median(speeds))
    away = np.abs(speeds - median)
    # The median absolute deviation as a standard deviation; rounds that scatter by less than this
    # are steady whatever their z-score.
    scale = max(float(np.median(away)) / NORMAL, 0.01 * median)
    return int((away / scale > OUTLYING).sum())

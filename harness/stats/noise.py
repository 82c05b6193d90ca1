"""Whether rounds can be trusted: drift, two speeds, outliers."""

from __future__ import annotations

import math
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
    rises = np.sign(speeds - speeds[:, None])[np.triu_indices(speeds.size, 1)].sum()
    variance = speeds.size * (speeds.size - 1) * (2 * speeds.size + 5) / 18
    if rises**2 < variance:  # within a standard deviation: far from any significance, and most are
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
    if speeds.size < TREND_ROUNDS or np.ptp(speeds) <= DRIFT * np.median(speeds):
        return None  # the means lie within the range, and would be no further apart
    # In units of the median, and never so narrow that a few equal rounds count as a cluster.
    values = speeds / np.median(speeds)
    one, two = _one_normal(values), _two_normals(values)
    if one - two.bic < EVIDENCE or two.weights.min() < 0.2:
        return None
    apart = math.sqrt(2) * float(np.ptp(two.means)) / math.sqrt(two.variances.sum())
    if apart < SEPARATION or np.ptp(two.means) < DRIFT:
        return None
    order = two.means.argsort()
    low, high = np.median(speeds) * two.means[order]
    return TwoSpeeds(float(low), float(high), float(two.weights[order[0]]))


class _Mixture(NamedTuple):
    """Two normal distributions, (2,) each, and the Bayesian information criterion."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    bic: float


def _one_normal(values: NDArray[np.float64]) -> float:
    """Bayesian information criterion of a single normal distribution."""
    deviations = _log_density(values, np.array(values.mean()), np.array(values.var() + FLOOR))
    return float(-2 * deviations.sum() + 2 * math.log(values.size))


def _two_normals(values: NDArray[np.float64]) -> _Mixture:
    """Expectation maximisation from the split into two runs of sorted values that explains most of
    the variance, as scikit-learn's GaussianMixture does it; its import would take a second."""
    ordered = np.sort(values)
    sizes = np.arange(1, values.size)
    sums = ordered.cumsum()[:-1]
    between = (sums / sizes - ordered.mean()) ** 2 * sizes / (values.size - sizes)
    upper = values > ordered[between.argmax()]
    shares = np.stack([~upper, upper]).astype(float)
    previous = -math.inf
    for _ in range(ITERATIONS):
        counts = shares.sum(axis=1) + 1e-12
        means = shares @ values / counts
        variances = (shares * (values - means[:, None]) ** 2).sum(axis=1) / counts + FLOOR
        weights = counts / counts.sum()
        logs = np.log(weights)[:, None] + _log_density(values, means[:, None], variances[:, None])
        total = np.logaddexp(*logs)
        shares = np.exp(logs - total)
        if total.mean() - previous < TOLERANCE:
            break
        previous = float(total.mean())
    return _Mixture(weights, means, variances, float(-2 * total.sum() + 5 * math.log(values.size)))


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

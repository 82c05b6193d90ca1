"""Whether rounds can be trusted: drift, two speeds, outliers. The tests are SciPy's and
scikit-learn's."""

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
    from sklearn.mixture import GaussianMixture  # takes a second to import

    # In units of the median, and never so narrow that a few equal rounds count as a cluster.
    values = (speeds / np.median(speeds)).reshape(-1, 1)
    one, two = (
        GaussianMixture(count, reg_covar=1e-5, n_init=3, random_state=0).fit(values)
        for count in (1, 2)
    )
    if one.bic(values) - two.bic(values) < EVIDENCE or two.weights_.min() < 0.2:
        return None
    means, variances = two.means_.ravel(), two.covariances_.ravel()
    apart = math.sqrt(2) * abs(means[0] - means[1]) / math.sqrt(variances.sum())
    if apart < SEPARATION or abs(means[0] - means[1]) < DRIFT:
        return None
    order = means.argsort()
    low, high = np.median(speeds) * means[order]
    return TwoSpeeds(float(low), float(high), float(two.weights_[order[0]]))


def outliers(speeds: NDArray[np.float64]) -> int:
    """How many of ``speeds`` (n,) lie far from the median, by the modified z-score."""
    if speeds.size < TREND_ROUNDS:
        return 0
    scatter = float(stats.median_abs_deviation(speeds, scale="normal"))
    # Rounds that scatter by less than this are steady whatever their z-score.
    scale = max(scatter, 0.01 * float(np.median(speeds)))
    return int((np.abs(speeds - np.median(speeds)) / scale > OUTLYING).sum())

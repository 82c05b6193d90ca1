"""Intervals for what was measured; the formulas are SciPy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import expit, logit

CONFIDENCE = 0.95
"""Of every interval."""
SIGNIFICANCE = 0.05
"""Of the tests of a table together, each p-value being multiplied by their number."""
AUTOCORRELATION, WEIGHT = 0.35, 8
"""What the autocorrelation of rounds is taken for before it is seen, and how many rounds that
assumption counts for: a dozen rounds say little of it."""
LEAST_DEGREES = 2.0
"""Of the error of rounds that resemble each other much. With one, an interval from six rounds of
autocorrelation 0.6 reached in 5 % of cases beyond eight times their range to each side, and covered
the truth no more often."""
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard error of the median of normal values over that of their mean."""
MEAN_WEIGHT = 4
"""How many positives of a rare label the mean over the labels counts for."""
MINIMUM_POSITIVES = 8
"""Patients with a label, and without it, below which its AUROC is shown without an interval."""


class Estimate(NamedTuple):
    """A value and its confidence interval; ``low`` and ``high`` are NaN where none can be had."""

    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


class Centre(NamedTuple):
    """The centre of some values, its standard error and the degrees of freedom of that.

    Error and degrees of freedom are NaN where the values are too few.
    """

    value: float
    error: float
    degrees: float

    def reach(self, *, confidence: float = CONFIDENCE) -> float:
        """Half the width of the interval (Student's t)."""
        if math.isnan(self.error):
            return math.nan
        return float(stats.t.ppf((1 + confidence) / 2, self.degrees)) * self.error


def over_rounds(values: ArrayLike) -> Centre:
    """Median of ``values`` (n,), the rounds of one start, in order.

    Rounds resemble their neighbours, so fewer than n count: n (1 - r) / (1 + r) of them at a
    first-order autocorrelation of r (Bartlett 1935). r is the sample's, freed of its bias
    (Marriott & Pope 1954) and drawn towards ``AUTOCORRELATION``. The error covers the rounds of
    this start; another start may differ by more.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.size < 3:
        return Centre(float(np.median(series)) if series.size else math.nan, math.nan, math.nan)
    about = series - series.mean()
    squares = float((about**2).sum())
    size = series.size
    if squares == 0:
        return Centre(float(series[0]), 0.0, size - 1)
    seen = float((about[1:] * about[:-1]).sum()) / squares
    seen += (1 + 3 * seen) / size
    found = min(max((size * seen + WEIGHT * AUTOCORRELATION) / (size + WEIGHT), 0.0), 0.9)
    inflation = (1 + found) / (1 - found)
    counted = size / inflation
    variance = squares / max(size - inflation, 1.0)
    error = MEDIAN_ERROR * math.sqrt(variance / counted)
    return Centre(float(np.median(series)), error, max(counted - 1, LEAST_DEGREES))


def over_starts(centres: ArrayLike) -> Centre:
    """Mean of ``centres`` (n,), one value for each fresh start; n - 1 degrees of freedom.

    The error covers further starts of the same thing on the same machine.
    """
    values = np.asarray(centres, dtype=np.float64)
    if values.size < 2:
        return Centre(float(values.mean()) if values.size else math.nan, math.nan, math.nan)
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return Centre(float(values.mean()), error, values.size - 1)


def centre_of(starts: Sequence[ArrayLike]) -> Centre:
    """Of the rounds of several fresh starts: over starts, or of a single one over its rounds.

    Starts that happen to agree are known no better than their rounds allow: of the two intervals
    the wider one counts.
    """
    each = [over_rounds(rounds) for rounds in starts]
    if len(each) == 1:
        return each[0]
    between = over_starts([start.value for start in each])
    error = math.sqrt(sum(start.error**2 for start in each)) / len(each)
    within = Centre(between.value, error, sum(start.degrees for start in each))
    return between if math.isnan(error) else max(between, within, key=Centre.reach)


def exponential(logarithm: Centre, *, comparisons: int = 1) -> Estimate:
    """A speed, or a ratio of speeds, from the centre of its natural logarithms.

    The intervals of all ``comparisons`` hold together with ``CONFIDENCE`` (Bonferroni).
    """
    reach = logarithm.reach(confidence=1 - (1 - CONFIDENCE) / max(comparisons, 1))
    value = logarithm.value
    # A t quantile of one degree of freedom can reach beyond what a float holds.
    with np.errstate(over="ignore"):
        low, high = np.exp(value - reach), np.exp(value + reach)
    return Estimate(math.exp(value), float(low), float(high))


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


@dataclass(frozen=True)
class Ranking:
    """AUROCs of one network, or their mean over several trainings, and how uncertain they are.

    The variance is DeLong's (DeLong et al. 1988), from what each image adds to the area; with
    groups, what the images of a group add counts as one (Obuchowski 1997). A label of fewer than
    ``MINIMUM_POSITIVES`` groups shows too little of it: in a mean over labels, Newcombe's formula
    (2006, method 5) takes its place.
    """

    areas: NDArray[np.float64]
    """(L,), NaN where a label is the same for all images, or a score is NaN."""
    influence: NDArray[np.float64]
    """(groups, L): what each group adds to each area, scaled so that the squares sum to its
    variance; 0 where the area is not defined."""
    counts: NDArray[np.int64]
    """(2, L): images with the label, and without it."""
    support: NDArray[np.int64]
    """(L,): groups with the label, or without it, whichever are fewer."""

    @classmethod
    def of(
        cls,
        scores: NDArray[np.floating[Any]],
        labels: NDArray[Any],
        groups: NDArray[Any] | None = None,
    ) -> Ranking:
        """Of ``scores`` and ``labels`` (N, L); ``groups`` (N,) are patients, without: images."""
        size = len(labels)
        names, member = np.unique(
            np.arange(size) if groups is None else groups, return_inverse=True
        )
        member = member.ravel()
        positives = labels.astype(bool).sum(axis=0)
        columns = [
            _ranked(score, label, member, len(names))
            for score, label in zip(scores.T, labels.T.astype(bool), strict=True)
        ]
        return cls(
            areas=np.array([area for area, _ in columns]),
            influence=np.stack([added for _, added in columns], axis=1)
            if columns
            else np.zeros((len(names), 0)),
            counts=np.stack([positives, size - positives]),
            support=group_support(labels, groups),
        )

    @classmethod
    def mean_of(cls, rankings: Sequence[Ranking]) -> Ranking:
        """Of trainings tested on the same images; an undefined area leaves its training out."""
        areas = np.stack([each.areas for each in rankings])
        known = ~np.isnan(areas)
        counts = np.maximum(known.sum(axis=0), 1)
        added = np.stack([each.influence for each in rankings]).sum(axis=0)
        return cls(
            areas=mean_of_defined(areas, axis=0),
            influence=added / counts,
            counts=rankings[0].counts,
            support=rankings[0].support,
        )

    @property
    def mean(self) -> float:
        """Over the labels that have an area; NaN where none has."""
        return float(mean_of_defined(self.areas, axis=0)) if self.areas.size else math.nan

    @property
    def error(self) -> Centre:
        """The mean over the labels, its standard error and degrees of freedom.

        A label that too few groups have adds its variance by formula, as if independent of the
        others, at an area between its own and the better known mean of all.
        """
        known = ~np.isnan(self.areas)
        if not known.any():
            return Centre(math.nan, math.nan, math.nan)
        seen = known & (self.support >= MINIMUM_POSITIVES)
        own = (self.influence**2).sum(axis=0)
        together = float((self.influence[:, seen].sum(axis=1) ** 2).sum())
        few = known & ~seen
        weight = self.counts[:, few].min(axis=0)
        areas = (weight * self.areas[few] + MEAN_WEIGHT * self.mean) / (weight + MEAN_WEIGHT)
        rare = _variance_by_formula(areas, *self.counts[:, few])
        variance = together + float(rare.sum())
        degrees = _degrees(own[seen], self.support[seen], extra=rare)
        return Centre(self.mean, math.sqrt(variance) / int(known.sum()), degrees)

    def interval(self, *, confidence: float = CONFIDENCE) -> Estimate:
        """The mean over the labels with its interval, made on the logit scale."""
        found = self.error
        rarest = int(self.support[~np.isnan(self.areas)].min(initial=len(self.influence)))
        return _logit_interval(found, max(rarest, 1), confidence)

    def label(self, index: int) -> Ranking:
        """One label alone."""
        one = slice(index, index + 1)
        return Ranking(
            self.areas[one], self.influence[:, one], self.counts[:, one], self.support[one]
        )

    def less(self, other: Ranking, *, comparisons: int = 1) -> Estimate:
        """Difference of the means, tested on the same images, with its interval.

        The intervals of all ``comparisons`` hold together with ``CONFIDENCE`` (Bonferroni).
        """
        known = ~np.isnan(self.areas) & ~np.isnan(other.areas)
        value = self.mean - other.mean
        if not known.any():
            return Estimate(value, math.nan, math.nan)
        apart = (self.influence - other.influence)[:, known]
        variance = float((apart.sum(axis=1) ** 2).sum()) / int(known.sum()) ** 2
        degrees = _degrees((apart**2).sum(axis=0), self.support[known])
        confidence = 1 - (1 - CONFIDENCE) / max(comparisons, 1)
        reach = Centre(value, math.sqrt(variance), degrees).reach(confidence=confidence)
        return Estimate(value, value - reach, value + reach)


def _ranked(
    score: NDArray[np.floating[Any]],
    label: NDArray[np.bool_],
    member: NDArray[np.intp],
    groups: int,
) -> tuple[float, NDArray[np.float64]]:
    """Area, and what each group adds to it (groups,)."""
    if np.isnan(score).any() or label.all() or not label.any():
        return math.nan, np.zeros(groups)
    positives, negatives = int(label.sum()), int((~label).sum())
    ranks = stats.rankdata(score)
    # Share of the negatives below each positive, and of the positives above each negative; a tie
    # is half (midranks: Sun & Xu 2014).
    share = np.empty(len(score))
    share[label] = (ranks[label] - stats.rankdata(score[label])) / negatives
    share[~label] = 1 - (ranks[~label] - stats.rankdata(score[~label])) / positives
    area = float(share[label].mean())
    added = np.zeros(groups)
    for kind, count in ((label, positives), (~label, negatives)):
        units = len(np.unique(member[kind]))
        scale = math.sqrt(units / (units - 1)) if units > 1 else 1.0
        added += np.bincount(member[kind], scale * (share[kind] - area) / count, groups)
    return area, added


def _variance_by_formula(
    areas: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(L,): Newcombe's variance of areas (2006, method 5), which needs no second positive."""
    pairs = positives * negatives
    inner = np.clip(areas, 1 / (2 * pairs), 1 - 1 / (2 * pairs))  # at 0 and 1 it gives nothing
    more = (positives + negatives) / 2 - 1
    shape = (1 - inner) / (2 - inner) + inner / (1 + inner)
    variance: NDArray[np.float64] = inner * (1 - inner) * (1 + more * shape) / pairs
    return variance


def _degrees(
    variances: NDArray[np.float64],
    support: NDArray[np.int64],
    extra: NDArray[np.float64] | None = None,
) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite 1946); ``extra`` ones are known."""
    total = float(variances.sum()) + (0.0 if extra is None else float(extra.sum()))
    fourth = float((variances**2 / np.maximum(support - 1, 1)).sum())
    return total**2 / fourth if fourth > 0 else math.inf


def _logit_interval(found: Centre, support: int, confidence: float) -> Estimate:
    area = found.value
    if math.isnan(found.error):
        return Estimate(area, math.nan, math.nan)
    if area in (0, 1):  # every positive above every negative, or none
        end = ((1 - confidence) / 2) ** (1 / support)
        return Estimate(area, end if area else 0.0, 1.0 if area else 1 - end)
    reach = found.reach(confidence=confidence) / (area * (1 - area))
    low, high = (float(expit(logit(area) + sign * reach)) for sign in (-1, 1))
    return Estimate(area, low, high)


def group_support(labels: NDArray[Any], groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """For every label (L,) of ``labels`` (N, L), in how many groups it occurs, or in how many its
    absence occurs, whichever is less."""
    member = np.arange(len(labels)) if groups is None else groups
    counted = [min(len(np.unique(member[label == kind])) for kind in (0, 1)) for label in labels.T]
    return np.array(counted, dtype=np.int64)


def mean_of_defined(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of what is not NaN; NaN where everything is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0).sum(axis=axis)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from harness.stats.statistics import (
    Centre,
    Ranking,
    centre_of,
    exponential,
    group_support,
    mcnemar,
    mean_accuracy,
    over_rounds,
    over_starts,
    proportion,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)),  # both ends follow from (1 - p)^n = 0.025
        (10, 10, 0.025 ** (1 / 10), 1.0),
        (5, 10, 0.1871, 0.8129),  # Clopper & Pearson, as in common tables
        (81, 100, 0.7193, 0.8816),
    ],
)
def test_exact_binomial_interval(successes, trials, low, high):
    got = proportion(successes, trials)
    assert got.value == successes / trials
    assert got.low == pytest.approx(low, abs=5e-5)
    assert got.high == pytest.approx(high, abs=5e-5)


def test_rounds_of_one_start_are_fewer_than_they_look():
    alternating, drifting = np.tile([0.0, 1.0], 10), np.arange(20.0)
    assert over_rounds(drifting).degrees < over_rounds(alternating).degrees
    got = over_rounds(np.sin(np.arange(20)))
    assert got.value == np.median(np.sin(np.arange(20)))
    assert got.error > 1.25 * np.sin(np.arange(20)).std() / np.sqrt(20)
    assert over_rounds([2.0] * 5) == (2.0, 0.0, 4)
    assert np.isnan(over_rounds([1.0, 2.0]).error)


def test_rounds_at_two_speeds_leave_an_interval_of_some_use():
    """Half of twenty rounds a tenth slower: not "from half to twice the speed"."""
    jitter = np.random.default_rng(0).normal(0, 0.005, 20)
    speed = exponential(over_rounds(np.log([2900.0] * 10 + [3250.0] * 10) + jitter))
    assert speed.low < 2900
    assert speed.high > 3250
    assert speed.high / speed.low < 2


def test_starts_have_one_degree_of_freedom_fewer_than_there_are():
    got = centre_of([[0.0, 0.0, 0.01], [0.1, 0.1, 0.1], [0.2, 0.2, 0.19]])
    assert got == pytest.approx((0.1, 0.1 / np.sqrt(3), 2))
    # Starts that agree by chance are known no better than their rounds allow.
    noisy = np.random.default_rng(0).standard_normal(12)
    assert centre_of([noisy, noisy + 1e-6]).reach() > 0.2
    assert got.reach() == pytest.approx(4.302653 * 0.1 / np.sqrt(3))  # the table's t
    assert np.isnan(over_starts([1.0]).error)


def test_intervals_that_hold_together_are_wider():
    one, three = (exponential(Centre(0.0, 0.1, 4), comparisons=n) for n in (1, 3))
    assert one.high == pytest.approx(np.exp(0.1 * stats.t.ppf(1 - 0.05 / 2, 4)))
    assert three.high == pytest.approx(np.exp(0.1 * stats.t.ppf(1 - 0.05 / 6, 4)))
    assert exponential(Centre(0.0, np.nan, np.nan)).has_interval is False


def test_examples_that_do_not_pair():
    with pytest.raises(ValueError, match="do not pair"):
        mcnemar([1, 2, 3], [1, 2])


def test_mean_accuracy_claims_no_more_than_one_test_split():
    got = mean_accuracy([80, 82], 100)
    assert got.value == 0.81
    assert (got.low, got.high) == proportion(81, 100)[1:]


def test_mcnemar_by_hand():
    first = np.array([1] * 6 + [0] * 1 + [1] * 3, bool)
    second = np.array([0] * 6 + [1] * 1 + [1] * 3, bool)
    got = mcnemar(first, second)
    assert (got.only_first, got.only_second) == (6, 1)
    assert got.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(first, first).p == 1


@pytest.fixture
def ranked():
    """Scores with ties (N, L), labels of which the last occurs in one group only, groups (N,)."""
    rng = np.random.default_rng(5)
    labels = (rng.random((90, 3)) < (0.5, 0.1, 0.0)).astype(np.uint8)
    groups = rng.integers(100, 130, 90)
    labels[groups == groups[0], 2] = 1
    return np.round(rng.standard_normal((90, 3)) + labels, 1), labels, groups


def test_aurocs_are_those_of_scikit_learn_and_undefined_ones_stay_so(ranked):
    scores, labels, groups = ranked
    expected = [
        roc_auc_score(label, score) for label, score in zip(labels.T, scores.T, strict=True)
    ]
    np.testing.assert_allclose(Ranking.of(scores, labels, groups).areas, expected, rtol=1e-12)
    labels[:, 0], labels[:, 1] = 0, 1
    scores[3, 2] = np.nan
    got = Ranking.of(scores, labels, groups)
    assert np.isnan(got.areas).all()
    assert not got.interval().has_interval
    assert not got.less(got).has_interval
    assert np.isnan(Ranking.of(scores[:, :0], labels[:, :0]).mean)


def test_the_variance_is_that_of_delong():
    """By its definition, over all pairs of a positive and a negative (DeLong et al. 1988)."""
    rng = np.random.default_rng(3)
    label = rng.random(60) < 0.3
    scores = np.round(rng.standard_normal((60, 2)) + label[:, None], 1)
    parts = []
    for score in scores.T:
        above = score[label][:, None] - score[~label][None, :]
        won = (above > 0) + (above == 0) / 2
        parts.append((won.mean(axis=1), won.mean(axis=0)))
    positive, negative = (np.cov([parts[0][n], parts[1][n]]) / len(parts[0][n]) for n in (0, 1))
    covariance = positive + negative
    one, two = (Ranking.of(scores[:, n : n + 1], label[:, None]) for n in (0, 1))
    assert one.error.error == pytest.approx(np.sqrt(covariance[0, 0]))
    difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    degrees = min(label.sum(), (~label).sum()) - 1
    got = one.less(two)
    assert got.value == pytest.approx(one.mean - two.mean)
    reach = stats.t.ppf(0.975, degrees) * np.sqrt(difference)
    assert got.high - got.value == pytest.approx(reach)
    assert one.less(two, comparisons=5).high > got.high
    assert one.less(one) == (0, 0, 0)


def test_the_mean_over_labels_leaves_out_what_is_undefined_and_keeps_the_rest(ranked):
    scores, labels, groups = ranked
    whole = Ranking.of(scores[:, :2], labels[:, :2], groups)
    labels[:, 2] = 0
    more = Ranking.of(scores, labels, groups)
    assert more.mean == pytest.approx(whole.mean)
    assert more.error == pytest.approx(whole.error)
    assert more.interval() == pytest.approx(whole.interval())


def test_a_mean_over_seeds_is_of_the_same_images(ranked):
    scores, labels, groups = ranked
    one = Ranking.of(scores, labels, groups)
    twice = Ranking.mean_of([one, one])
    assert twice.error == pytest.approx(one.error)
    other = Ranking.of(np.random.default_rng(8).permutation(scores), labels, groups)
    assert Ranking.mean_of([one, other]).error.error < max(one.error.error, other.error.error)


def test_support_is_groups_and_not_images(ranked):
    _, labels, groups = ranked
    expected = [min(len(set(groups[c == 0])), len(set(groups[c == 1]))) for c in labels.T]
    assert list(group_support(labels, groups)) == expected
    assert expected[2] == 1
    assert group_support(labels)[2] == labels[:, 2].sum()


def test_perfect_ranking_has_an_interval_that_ends_at_one():
    label = np.arange(40) < 10
    got = Ranking.of(label[:, None].astype(float), label[:, None]).interval()
    assert (got.value, got.high) == (1, 1)
    assert got.low == pytest.approx(0.025 ** (1 / 10))


def test_fourteen_labels_of_thousands_of_images():
    rng = np.random.default_rng(1)
    labels = rng.random((3000, 14)) < 0.05
    found = Ranking.of(rng.standard_normal((3000, 14)), labels, rng.integers(0, 900, 3000))
    assert found.mean == pytest.approx(0.5, abs=0.05)
    assert 0 < found.error.error < 0.02

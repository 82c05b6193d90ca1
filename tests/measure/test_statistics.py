from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from harness.measure.statistics import (
    RESAMPLES,
    carriers,
    mcnemar,
    mean_accuracy,
    median,
    normal_interval,
    paired_ratio,
    percentile_interval,
    proportion,
    resampled_aurocs,
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


def test_median_is_the_same_each_time_and_inside_its_interval():
    samples = np.random.default_rng(0).lognormal(size=25)
    got = median(samples)
    assert got == median(list(samples))
    assert got.value == np.median(samples)
    assert samples.min() <= got.low < got.value < got.high <= samples.max()


def test_median_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(60):
        got = median(rng.standard_normal(21))
        hits += got.low <= 0 <= got.high
    assert 51 <= hits < 60  # 57 expected


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 3.0]])
def test_too_few_samples_carry_no_interval(samples):
    got = median(samples)
    assert not got.has_interval
    assert np.isnan(got.value) if not samples else got.value == np.median(samples)


def test_equal_samples_have_an_interval_of_no_width():
    assert tuple(median([2.0] * 5)) == (2.0, 2.0, 2.0)


def test_paired_ratio_cancels_what_is_common():
    machine = np.linspace(1, 3, 9)
    got = paired_ratio(3 * machine, 2 * machine)
    assert got.value == pytest.approx(1.5)
    assert got.high - got.low == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("compare", [paired_ratio, mcnemar])
def test_rounds_that_do_not_pair(compare):
    with pytest.raises(ValueError, match="do not pair"):
        compare([1, 2, 3], [1, 2])


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


@pytest.mark.parametrize("grouped", [True, False])
def test_resampled_aurocs_are_those_of_samples_drawn_one_by_one(ranked, grouped):
    scores, labels, groups = ranked
    groups = groups if grouped else np.arange(90)
    got = resampled_aurocs(scores, labels, groups if grouped else None, resamples=50)
    names = np.unique(groups)
    drawn = np.random.default_rng(0).integers(0, len(names), (50, len(names)))
    undefined = 0
    for row, sample in zip(got, drawn, strict=True):
        images = np.concatenate([np.flatnonzero(groups == names[place]) for place in sample])
        for area, score, label in zip(row, scores[images].T, labels[images].T, strict=True):
            if label.min() == label.max():
                undefined += 1
                assert np.isnan(area)
            else:
                assert area == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert not grouped or undefined > 5


def test_a_group_of_all_images_is_the_auroc_itself(ranked):
    scores, labels, _ = ranked
    got = resampled_aurocs(scores, labels, np.zeros(90), resamples=2)
    expected = [
        roc_auc_score(label, score) for label, score in zip(labels.T, scores.T, strict=True)
    ]
    np.testing.assert_allclose(got, [expected] * 2, rtol=1e-12)


def test_undefined_aurocs_stay_undefined(ranked):
    scores, labels, groups = ranked
    labels[:, 0], labels[:, 1] = 0, 1
    scores[3, 2] = np.nan
    assert np.isnan(resampled_aurocs(scores, labels, groups, resamples=5)).all()
    assert resampled_aurocs(scores[:, :0], labels[:, :0], resamples=5).shape == (5, 0)


def test_the_same_images_are_drawn_alike_whatever_the_scores(ranked):
    scores, labels, groups = ranked
    same = resampled_aurocs(scores, labels, groups) - resampled_aurocs(3 * scores, labels, groups)
    assert np.nanmax(np.abs(same)) == 0


def test_carriers_are_groups_and_not_images(ranked):
    _, labels, groups = ranked
    expected = [min(len(set(groups[c == 0])), len(set(groups[c == 1]))) for c in labels.T]
    assert list(carriers(labels, groups)) == expected
    assert expected[2] == 1
    assert carriers(labels)[2] == labels[:, 2].sum()


def test_auroc_interval_covers_the_truth_about_as_often_as_it_says():
    """Four images a patient that share most of their noise: single images would promise much
    more than they hold."""
    rng = np.random.default_rng(7)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    hits = {"patients": 0, "images": 0}
    for _ in range(100):
        labels = np.repeat(rng.random(60) < 0.5, 4)[:, None]
        noise = np.repeat(rng.standard_normal(60), 4) * 0.95**0.5
        scores = labels[:, 0] + noise + rng.standard_normal(240) * 0.05**0.5
        for name, groups in (("patients", np.repeat(np.arange(60), 4)), ("images", None)):
            found = resampled_aurocs(scores[:, None], labels, groups, resamples=200)
            got = percentile_interval(roc_auc_score(labels[:, 0], scores), found[:, 0])
            hits[name] += got.low <= truth <= got.high
    assert 88 <= hits["patients"] <= 99  # 95 expected
    assert hits["images"] < 80


def test_intervals_from_resamples():
    resampled = np.append(np.linspace(0, 1, 101), np.nan)
    assert tuple(percentile_interval(0.4, resampled)) == pytest.approx((0.4, 0.025, 0.975))
    one = normal_interval(0.4, resampled)
    assert one.high - 0.4 == pytest.approx(1.959964 * np.linspace(0, 1, 101).std(ddof=1))
    many = normal_interval(0.4, resampled, tests=10)
    assert many.high - 0.4 == pytest.approx((one.high - 0.4) * 2.807034 / 1.959964)
    for interval in (percentile_interval, normal_interval):
        assert not interval(0.4, np.full(3, np.nan)).has_interval
        assert not interval(np.nan, resampled).has_interval


def test_resampling_takes_fourteen_labels_of_thousands_of_images():
    rng = np.random.default_rng(1)
    labels = rng.random((3000, 14)) < 0.05
    found = resampled_aurocs(rng.standard_normal((3000, 14)), labels, rng.integers(0, 900, 3000))
    assert found.shape == (RESAMPLES, 14)
    assert found.mean() == pytest.approx(0.5, abs=0.05)

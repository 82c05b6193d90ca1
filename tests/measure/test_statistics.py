from __future__ import annotations

import numpy as np
import pytest

from harness.measure.statistics import mcnemar, mean_accuracy, median, paired_ratio, proportion


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

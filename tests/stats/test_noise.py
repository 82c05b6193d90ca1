"""Rounds of a known kind: the right warning, and seldom a wrong one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from harness.stats.noise import drift, outliers, two_speeds, two_speeds_of_each


def steady(seed, rounds=30, spread=0.02):
    return 1000 * (1 + spread * np.random.default_rng(seed).standard_normal(rounds))


def test_steady_rounds_raise_few_alarms():
    samples = [steady(seed) for seed in range(60)]
    assert sum(drift(speeds) is not None for speeds in samples) <= 2
    assert sum(two_speeds(speeds) is not None for speeds in samples) <= 2
    assert sum(outliers(speeds) > 0.1 * speeds.size for speeds in samples) == 0


@pytest.mark.parametrize("change", [-0.3, -0.1, 0.1, 0.3])
def test_drift_is_found_with_its_size(change):
    found = [drift(steady(seed) * (1 + np.linspace(0, change, 30))) for seed in range(10)]
    assert all(value is not None and abs(value - change) < 0.06 for value in found)


def test_two_speeds_are_found_where_they_are():
    for seed in range(10):
        slow = np.random.default_rng(seed).permutation(30) < 10
        found = two_speeds(np.where(slow, 0.6, 1.0) * steady(seed))
        assert found is not None
        assert found.slower == pytest.approx(600, rel=0.03)
        assert found.faster == pytest.approx(1000, rel=0.03)
        assert found.share == pytest.approx(1 / 3, abs=0.05)


def test_two_speeds_are_those_of_scikit_learn():
    slow = np.random.default_rng(0).permutation(30) < 10
    speeds = np.where(slow, 0.6, 1.0) * steady(0)
    values = (speeds / np.median(speeds)).reshape(-1, 1)
    mixture = GaussianMixture(2, reg_covar=1e-5, n_init=3, random_state=0).fit(values)
    found = two_speeds(speeds)
    assert found is not None
    assert [found.slower, found.faster] == pytest.approx(
        sorted(np.median(speeds) * mixture.means_.ravel()), rel=1e-4
    )
    assert found.share == pytest.approx(mixture.weights_.min(), rel=1e-3)


def test_many_trainings_at_once_are_judged_as_each_alone():
    def clustered(seed, rounds, share):
        slow = np.random.default_rng(seed).permutation(rounds) < share * rounds
        return np.where(slow, 0.6, 1.0) * steady(seed, rounds)

    kinds = [(30, 0.4), (12, 0.5), (30, 0), (5, 0.5), (30, 0.3)]
    trainings = [clustered(seed, *kind) for seed, kind in enumerate(kinds)]
    alone = [two_speeds(each) for each in trainings]
    assert two_speeds_of_each(trainings) == alone
    assert [found is not None for found in alone] == [True, True, False, False, True]
    assert two_speeds_of_each([]) == []


def test_single_slow_rounds_are_outliers_and_neither_drift_nor_two_speeds():
    speeds = steady(1)
    speeds[[3, 17]] /= 2
    assert 2 <= outliers(speeds) <= 3
    assert drift(speeds) is None
    assert two_speeds(speeds) is None


@pytest.mark.parametrize("speeds", [np.array([1000.0]), np.full(30, 1000.0), steady(1)[:5]])
def test_too_few_or_equal_rounds_say_nothing(speeds):
    assert drift(speeds) is None
    assert two_speeds(speeds) is None
    assert outliers(speeds) == 0

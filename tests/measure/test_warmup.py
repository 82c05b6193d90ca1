from __future__ import annotations

import time

import pytest

from harness.measure import warmup
from harness.measure.warmup import timed_calls, until_steady
from harness.results.records import Latency


def trainer(pace, calls):
    """A training whose steps take ``pace(steps done before)`` seconds."""

    def train(steps):
        done = sum(calls)
        calls.append(steps)
        return sum(pace(done + step) for step in range(steps))

    return train


@pytest.mark.parametrize(
    ("pace", "steady", "least"),
    [
        (lambda step: 0.01, True, 200),
        (lambda step: 0.01 + 0.04 * max(0.0, 1 - step / 100), True, 100),  # slow at first
        (lambda step: 0.01 * (1 + step // 50 % 2), False, 500),  # never steady
    ],
)
def test_training_warms_up_until_it_is_steady(pace, steady, least):
    calls: list[int] = []
    found = until_steady(trainer(pace, calls), 1000)
    assert found.steady == steady
    assert found.steps >= least
    assert found.seconds < warmup.LIMIT_S + 2


def test_passes_too_short_to_agree_are_not_repeated_for_ever():
    calls: list[int] = []
    found = until_steady(trainer(lambda step: 1e-6 * (1 + step % 7), calls), 3)
    assert (found.steady, len(calls)) == (False, 2 + warmup.LIMIT_PASSES)


@pytest.mark.parametrize(
    ("steps", "multiple", "allowed"),
    [(5, 1, {4, 5}), (1000, 64, {64, *range(64, 1000, 64)}), (30, 30, {30}), (70, 64, {64, 70})],
)
def test_a_pass_runs_the_programs_of_an_epoch(steps, multiple, allowed):
    calls: list[int] = []
    until_steady(trainer(lambda step: 0.001, calls), steps, multiple)
    assert set(calls) <= allowed


def test_a_long_epoch_is_not_trained_through():
    calls: list[int] = []
    found = until_steady(trainer(lambda step: 0.2, calls), 10**6)
    assert found.steady
    assert found.seconds < 2 * warmup.LIMIT_S


def test_slow_calls_are_repeated_all_the_same():
    calls: list[float] = []
    timed = timed_calls(lambda: time.sleep(0.001), least=30, most=300, seconds=0.0)
    assert len(timed) == 30
    assert len(timed_calls(lambda: calls.append(0.0), least=2, most=7, seconds=60.0)) == 7


@pytest.mark.parametrize(
    ("calls", "supported"), [(1, []), (6, [50]), (29, [50]), (30, [50, 90]), (300, [50, 90, 99])]
)
def test_a_percentile_needs_calls_beyond_it(calls, supported):
    latency = Latency(batch_size=1, first_s=9.0, seconds=(0.5,) * calls)
    found = {percent: latency.percentile(percent) for percent in (50, 90, 99)}
    assert found == {p: 0.5 if p in supported else None for p in (50, 90, 99)}

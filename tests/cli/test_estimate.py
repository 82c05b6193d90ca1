"""How long a run will take."""

from __future__ import annotations

import pytest

from harness.cli.estimate import Estimate, costs, in_words
from harness.config import parse_experiment
from harness.execution.runner import check
from harness.plan import Cell


def test_what_remains_follows_from_what_was_seen():
    now = 0.0
    first, second, third, fourth = (
        Cell(framework=name, model="m", dataset="d", seed=seed) for seed in (0, 1) for name in "ab"
    )
    estimate = Estimate(cells=4, epochs=3, clock=lambda: now)
    for cell in (first, second):  # start-up: 10 s each
        estimate.phase(cell)
        now += 10
    assert estimate.remaining is None
    for number in (1, 2, 3):
        for cell in (first, second):  # 2 s an epoch
            now += 2
            estimate.epoch(cell, number)
    # Of the other two cells the start-up, which the first epoch was counted to, and six epochs.
    assert estimate.remaining == pytest.approx(2 * (20 + 2) / 2 + 6 * 2)
    estimate.phase(first)
    now += 8  # a measurement besides training
    for cell in (first, second):
        estimate.end(cell)
    assert estimate.remaining == pytest.approx(22 + 12 + 2 * 8 / 2)
    for cell in (third, fourth):
        estimate.end(cell)
    assert (estimate.remaining, estimate.done, estimate.total) == (0, 12, 12)


def test_costs_grow_with_the_work(planted, small_file, tmp_path):
    def seconds(**settings):
        experiment = parse_experiment(
            {"frameworks": ["sound"], "datasets": [str(small_file)], "threads": 1}
            | {"training": {"batch_size": 8}} | settings,
            where="test",
        )  # fmt: skip
        (cost,) = costs(check(experiment, tmp_path).manifest)
        assert cost.memory_bytes > 61 * 144
        return cost.seconds

    assert seconds(sessions=3) > seconds(seeds=[0, 1]) > seconds() > seconds(warm_start=False)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.4, "12 s"), (100, "2 min"), (7800, "2 h 10 min")]
)
def test_durations(seconds, words):
    assert in_words(seconds) == words

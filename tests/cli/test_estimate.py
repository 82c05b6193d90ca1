"""How long a run will take."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.cli.estimate import Estimate, costs, in_words, on_a_clock
from harness.config import parse_experiment
from harness.execution.extras import work_of
from harness.execution.observer import SilentObserver
from harness.execution.runner import check, prepare, run
from harness.plan import Cell


def test_what_remains_follows_from_what_was_seen():
    now = 0.0
    first, second, third, fourth = (
        Cell(framework=name, model="m", dataset="d", seed=seed) for seed in (0, 1) for name in "ab"
    )
    work = {"start-up": 1, "training": 3, "rounds": 2}
    cells = (first, second, third, fourth)
    estimate = Estimate(dict.fromkeys(cells, work), clock=lambda: now)
    for cell in (first, second):
        now += 10
        estimate.unit(cell, "start-up")
    assert estimate.remaining is None
    for number in (1, 2, 3):
        for cell in (first, second):
            now += 2
            estimate.epoch(cell, number, 3)
    # Rounds are not known yet: as epochs.
    assert estimate.remaining == pytest.approx(2 * 10 + 6 * 2 + 8 * 2)
    now += 1
    estimate.unit(first, "rounds")
    assert estimate.remaining == pytest.approx(2 * 10 + 6 * 2 + 7 * 1)
    for cell in (first, second):
        estimate.end(cell)
    assert estimate.remaining == pytest.approx(2 * 10 + 6 * 2 + 4 * 1)
    estimate.epoch(third, 3, 3)  # resumed
    assert estimate.done == 9
    for cell in (third, fourth):
        estimate.end(cell)
    assert (estimate.remaining, estimate.done, estimate.total) == (0, 12, 12)


def test_near_the_end_of_a_run_little_remains(planted, small_file, tmp_path):
    """What is expected is what is done: every unit of the work of a cell ends once."""
    ended: Counter[str] = Counter()

    class Counts(SilentObserver):
        def epoch_ended(self, cell, number, epoch):
            ended["training"] += 1

        def work_ended(self, cell, kind):
            ended[kind] += kind != "repeats"

    experiment = parse_experiment(
        {"frameworks": ["sound"], "datasets": [str(small_file)], "threads": 1, "rounds": 3}
        | {"sessions": 2, "inference": [1, 2], "training": {"epochs": 2, "batch_size": 8}},
        where="test",
    )
    comparison = prepare(experiment, out=tmp_path / "run", data_dir=tmp_path, observer=Counts())
    (cell,) = comparison.cells
    expected = work_of(experiment, cell, None)
    assert "rounds" in expected
    assert "restarts" in expected
    (result,) = run(comparison)
    assert +ended == expected
    assert work_of(experiment, cell, result) == {"start-up": 1}


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
    ("seconds", "words", "clock"),
    [(12.4, "12 s", "0:12"), (100, "2 min", "1:40"), (7800, "2 h 10 min", "2:10:00")],
)
def test_durations(seconds, words, clock):
    assert (in_words(seconds), on_a_clock(seconds)) == (words, clock)

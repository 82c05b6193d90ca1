"""Speeds of runs: identical runs hardly ever differ, and what is really slower is found."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.measure.statistics import Estimate
from harness.plan import Cell
from harness.results.records import CellResult, Conditions, Round
from harness.results.speed import (
    MINIMUM_ROUNDS,
    RUN_TO_RUN,
    Speed,
    geometric_mean,
    has_gemm,
    interval,
    ratio,
    ratio_to_runs,
    speed_of,
)

IMAGES = 1000


def training(rates: np.ndarray, gemm: np.ndarray | None = None, seed: int = 0) -> CellResult:
    rounds = tuple(
        Round(
            seconds=IMAGES / rate,
            images=IMAGES,
            conditions=None if gemm is None else Conditions(gemm_gflops=gemm[n]),
        )
        for n, rate in enumerate(rates)
    )
    cell = Cell(framework="a", model="m", dataset="d", seed=seed)
    return CellResult(cell=cell, started="", extra_rounds=rounds)


def wander(random: np.random.Generator, rounds: int, deviation: float) -> np.ndarray:
    """Rounds of which each resembles the one before (AR(1), 0.6)."""
    noise = random.standard_normal(rounds)
    found = [noise[0]]
    for each in noise[1:]:
        found.append(0.6 * found[-1] + 0.8 * each)
    return deviation * np.array(found)


def run(
    random: np.random.Generator, *, faster: float = 1.0, rounds: int = 12, seeds: int = 1
) -> list[CellResult]:
    """A run on a machine whose speed differs by a fifth from run to run.

    The network follows the machine as a matrix product does, give or take a fifth of the way, and
    each wanders from round to round on top of that.
    """
    machine = 0.2 * random.standard_normal()
    follows = 1 + 0.2 * random.standard_normal()
    cells = []
    for seed in range(seeds):
        shared = machine + wander(random, rounds, 0.05)
        own = wander(random, rounds, 0.05) + 0.02 * random.standard_normal()
        rates = 5000 * faster * np.exp(follows * shared + own)
        cells.append(training(rates, 80 * np.exp(shared + wander(random, rounds, 0.03)), seed))
    return cells


def share(runs: Callable[[], tuple[Speed, Speed]], told: Callable[[Estimate], bool]) -> float:
    """Of 200 comparisons, in how many ``told`` says yes."""
    return float(np.mean([told(ratio(*runs())) for _ in range(200)]))


def differs(found: Estimate) -> bool:
    return not found.low <= 1 <= found.high


@pytest.mark.parametrize(("seeds", "normalise"), [(1, True), (3, True), (1, False)])
def test_runs_of_the_same_thing_hardly_ever_differ(seeds: int, normalise: bool) -> None:
    random = np.random.default_rng(seeds)

    def runs() -> tuple[Speed, Speed]:
        one, other = (speed_of(run(random, seeds=seeds), normalise=normalise) for _ in range(2))
        return one, other

    assert share(runs, differs) <= 0.05


def test_rounds_resampled_one_by_one_would_cry_wolf() -> None:
    """Why a run counts as one draw: what the same runs give when their rounds count as many."""
    random = np.random.default_rng(0)

    def runs() -> tuple[Speed, Speed]:
        found = []
        for _ in range(2):
            speed = speed_of(run(random), normalise=True)
            error = 1.25 * speed.error / math.sqrt(speed.rounds)  # of a median
            found.append(Speed(speed.log, error, speed.rounds, None))
        return found[0], found[1]

    assert share(runs, differs) > 0.2


def test_a_slowdown_of_three_tenths_is_found() -> None:
    """On a machine that is steady within a run, whatever it does between runs."""
    random = np.random.default_rng(0)

    def steady(faster: float) -> Speed:
        machine = 0.1 * random.standard_normal()
        own, shared = (wander(random, 20, 0.02) for _ in range(2))
        rates = 5000 * faster * np.exp(machine + shared + own)
        return speed_of([training(rates, 80 * np.exp(machine + shared))], normalise=True)

    assert share(lambda: (steady(0.7), steady(1.0)), lambda found: found.high < 1) > 0.9
    assert share(lambda: (steady(1.0), steady(1.0)), differs) <= 0.05


def test_matrix_products_take_the_machine_out() -> None:
    steps = np.linspace(1, 1.1, 12)
    one, other = training(100 * steps, 10 * steps), training(200 * steps, 20 * steps)
    normalised = [speed_of([each], normalise=True) for each in (one, other)]
    assert ratio(normalised[1], normalised[0]).value == pytest.approx(1)
    raw = [speed_of([each], normalise=False) for each in (one, other)]
    assert ratio(raw[1], raw[0]).value == pytest.approx(2)
    # The correction by a factor of two is not known exactly, though no round strays from it.
    assert normalised[0].error == RUN_TO_RUN
    found = ratio(normalised[1], normalised[0])
    assert found.high / found.low > 2


def test_more_rounds_do_not_make_a_run_more_certain_than_its_spread() -> None:
    random = np.random.default_rng(0)
    rates = 100 * np.exp(0.3 * random.standard_normal(400))
    speed = speed_of([training(rates)], normalise=False)
    assert speed.error == pytest.approx(0.3, rel=0.15)


def test_trainings_far_apart_count_as_spread() -> None:
    cells = [training(np.full(8, rate), seed=n) for n, rate in enumerate((100.0, 150.0))]
    speed = speed_of(cells, normalise=False)
    assert speed.error == pytest.approx(math.log(1.5) / math.sqrt(2))
    assert math.exp(speed.log) == pytest.approx(math.sqrt(100 * 150))


def test_too_few_rounds_give_no_interval() -> None:
    few, enough = (
        speed_of([training(np.full(count, 100.0))], normalise=False)
        for count in (MINIMUM_ROUNDS - 1, MINIMUM_ROUNDS)
    )
    assert not ratio(few, enough).has_interval
    assert ratio(enough, enough).has_interval


def test_one_round_without_a_matrix_product_is_one_too_many() -> None:
    whole = training(np.ones(6), np.ones(6))
    rounds = (*whole.extra_rounds, Round(seconds=1, images=IMAGES))
    assert has_gemm([whole], "cpu")
    assert not has_gemm([whole, training(np.ones(6))], "cpu")
    assert not has_gemm([whole.model_copy(update={"extra_rounds": rounds})], "cpu")
    assert not has_gemm([], "cpu")
    assert not has_gemm([whole], "gpu")  # it says nothing of a graphics card


def test_one_error_gives_students_interval() -> None:
    found = interval(math.log(2), [(0.1, 5)])
    reach = 2.5705818 * 0.1  # the table's t of 5 degrees of freedom
    assert found == pytest.approx((2, 2 * math.exp(-reach), 2 * math.exp(reach)))
    # Two equal errors of equal freedom: twice the freedom (Welch and Satterthwaite).
    reach = 2.2281389 * 0.1 * math.sqrt(2)
    assert interval(0, [(0.1, 5), (0.1, 5)]).high == pytest.approx(math.exp(reach))


def test_the_mean_of_rows_is_no_surer_than_they_are() -> None:
    found = geometric_mean([Estimate(1, 0.5, 2), Estimate(4, 2, 8)])
    assert found == pytest.approx((2, 1, 4))


def test_runs_that_differed_before_widen_what_is_expected_of_the_next() -> None:
    def at(log: float) -> Speed:
        return Speed(log, 0.05, 12, 0.0)

    alike = ratio_to_runs(at(-0.9), [at(0), at(0.01), at(-0.01)])
    unlike = ratio_to_runs(at(-0.9), [at(0), at(0.5), at(-0.5)])
    assert alike.value == unlike.value == pytest.approx(math.exp(-0.9))
    assert alike.high < 1 < unlike.high
    assert ratio_to_runs(at(0), [at(0)] * 4).high < ratio_to_runs(at(0), [at(0)]).high


def test_the_gate_lets_identical_reruns_pass_under_load() -> None:
    """At most 1 in 30 would be reported as slower at all, were any slowdown too much."""
    random = np.random.default_rng(0)

    def rerun(faster: float = 1.0) -> Estimate:
        stored = [speed_of(run(random), normalise=True) for _ in range(3)]
        return ratio_to_runs(speed_of(run(random, faster=faster), normalise=True), stored)

    assert np.mean([rerun().high < 1 for _ in range(200)]) <= 1 / 30
    assert np.mean([rerun(1 / 3).high < 1 / 1.3 for _ in range(200)]) > 0.8

"""Speeds of runs: identical runs hardly ever differ, and what is really slower is found.

Coverage and false alarms in numbers: benchmarks/simulate_intervals.py, and its own test.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from harness.analysis.speed import (
    DRIFT_RAW,
    MINIMUM_ROUNDS,
    Speed,
    geometric_mean,
    has_gemm,
    ratio,
    ratio_to_runs,
    speed_of,
)
from harness.plan import Cell
from harness.results.records import CellResult, Conditions, Phases, Restart, Round
from harness.stats.statistics import Estimate

IMAGES = 1000
PHASES = Phases(start_s=1, import_s=1, build_s=1, first_step_s=1, first_predict_s=1)


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
    assert normalised[0].within == pytest.approx(0, abs=1e-9)
    found = ratio(normalised[1], normalised[0])
    assert found.high / found.low > 2


def test_more_rounds_do_not_make_a_run_more_certain_than_its_spread() -> None:
    random = np.random.default_rng(0)
    one, two = (
        speed_of([training(100 * np.exp(0.3 * random.standard_normal(400)))], normalise=False)
        for _ in range(2)
    )
    assert one.within == pytest.approx(0.3, rel=0.15)
    found = ratio(one, two)
    assert found.high / found.value > math.exp(1.9 * 0.3 * math.sqrt(2))


def test_starts_are_the_units_and_their_spread_the_error() -> None:
    """Seeds and restarts alike; the degrees of freedom are those of the starts, not of rounds."""
    cells = [training(np.full(8, rate), seed=n) for n, rate in enumerate((100.0, 110.0, 121.0))]
    restart = Restart(
        session="s", started="", phases=PHASES, rounds=training(np.full(8, 133.1)).extra_rounds
    )
    cells[2] = cells[2].model_copy(update={"restarts": (restart,)})
    speed = speed_of(cells, normalise=False)
    assert np.exp(speed.logs) == pytest.approx([100, 110, 121, 133.1])
    spread = np.log([100, 110, 121, 133.1]).std(ddof=1)
    found = ratio(speed, speed)
    variance = spread**2 / 2
    known = 2 * DRIFT_RAW**2
    degrees = 6 * ((variance + known) / variance) ** 2
    reach = stats.t.ppf(0.975, degrees) * math.sqrt(variance + known)
    assert found.high == pytest.approx(math.exp(reach))


def test_disturbed_rounds_count_only_where_there_are_no_others() -> None:
    slow = tuple(
        each.model_copy(update={"disturbed": n < 4, "seconds": 9.0 if n < 4 else 1.0})
        for n, each in enumerate(training(np.ones(12)).extra_rounds)
    )
    mixed = training(np.ones(12)).model_copy(update={"extra_rounds": slow})
    assert speed_of([mixed], normalise=False).rounds == 8
    assert speed_of([mixed], normalise=False).log == pytest.approx(math.log(IMAGES))
    whole = tuple(each.model_copy(update={"disturbed": True}) for each in slow)
    every = training(np.ones(12)).model_copy(update={"extra_rounds": whole})
    assert speed_of([every], normalise=False).rounds == 12


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


def test_the_mean_of_rows_is_no_surer_than_they_are() -> None:
    found = geometric_mean([Estimate(1, 0.5, 2), Estimate(4, 2, 8)])
    assert found == pytest.approx((2, 1, 4))


def test_runs_that_differed_before_widen_what_is_expected_of_the_next() -> None:
    def at(log: float) -> Speed:
        return Speed((log,), 0.01, 12, 0.0)

    alike = ratio_to_runs(at(-0.9), [at(0), at(0.01), at(-0.01)])
    unlike = ratio_to_runs(at(-0.9), [at(0), at(0.5), at(-0.5)])
    assert alike.value == unlike.value == pytest.approx(math.exp(-0.9))
    assert alike.high < 1 < unlike.high
    several = [at(0.02 * (-1) ** n) for n in range(8)]
    assert ratio_to_runs(at(0), several).high < ratio_to_runs(at(0), several[:2]).high
    assert ratio(at(0), at(0), comparisons=9).high > ratio(at(0), at(0)).high


def test_a_run_whose_rounds_scatter_is_not_taken_for_sure_beside_steady_ones() -> None:
    steady = [Speed((0.001 * n,), 0.01, 12, 0.0) for n in range(5)]
    wild = Speed((0.6,), 1.0, 12, 0.0)
    assert ratio_to_runs(wild, steady).low < 1


def test_the_gate_lets_identical_reruns_pass_under_load() -> None:
    """At most 1 in 30 would be reported as slower at all, were any slowdown too much."""
    random = np.random.default_rng(0)

    def rerun(faster: float = 1.0) -> Estimate:
        stored = [speed_of(run(random), normalise=True) for _ in range(3)]
        return ratio_to_runs(speed_of(run(random, faster=faster), normalise=True), stored)

    assert np.mean([rerun().high < 1 for _ in range(200)]) <= 1 / 30
    assert np.mean([rerun(1 / 3).high < 1 / 1.3 for _ in range(200)]) > 0.8

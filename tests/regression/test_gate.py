"""The accuracy gate itself: bounds from the binomial interval and the seed spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.baseline import (
    GATE_CONFIDENCE,
    Baseline,
    auroc_bounds,
    bounds,
    read_baselines,
    write_baselines,
)
from harness.analysis.gate import MetricCheck, check_metrics
from harness.config import Training
from harness.errors import BenchError
from harness.plan import Cell
from harness.report.gates import line
from harness.results.records import CellResult, FinalScore


def baseline(*correct: int, examples: int = 1000) -> Baseline:
    return Baseline(
        framework="torch",
        model="lenet5",
        dataset="digits",
        training=Training(),
        examples=examples,
        correct=dict(enumerate(correct)),
    )


def result(correct: int, examples: int = 1000) -> CellResult:
    return CellResult(
        cell=Cell(framework="torch", model="lenet5", dataset="digits", seed=0),
        started="2026-01-01T00:00:00+00:00",
        test=FinalScore(
            examples=examples, correct=correct, accuracy=correct / examples, loss=0.1, seconds=0.1
        ),
    )


def test_one_seed_gives_the_exact_binomial_interval() -> None:
    found = bounds(baseline(970), seeds=1)
    tail = (1 - GATE_CONFIDENCE) / 2
    assert found.low == pytest.approx(stats.beta.ppf(tail, 970, 31))
    assert found.high == pytest.approx(stats.beta.ppf(1 - tail, 971, 30))


def test_the_seed_spread_widens_the_bounds_as_a_prediction_interval_does() -> None:
    counts = (960, 970, 980)
    found, binomial = bounds(baseline(*counts), seeds=2), bounds(baseline(970), seeds=2)
    spread = stats.t.ppf((1 + GATE_CONFIDENCE) / 2, 2) * 0.01 * math.sqrt(1 / 3 + 1 / 2)
    assert found.mean - found.low == pytest.approx(math.hypot(0.97 - binomial.low, spread))
    assert found.high - found.mean == pytest.approx(math.hypot(binomial.high - 0.97, spread))


def test_a_gate_of_this_confidence_hardly_ever_trips_by_chance() -> None:
    """Simulated: true accuracies vary by seed, the test split is drawn anew; 1,000 checks."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        truth = 0.97 + 0.004 * random.standard_normal(6)
        counts = random.binomial(1000, truth)
        found = check_metrics(baseline(*counts[:5].tolist()), [result(int(counts[5]))])
        alarms += found.status == "failed"
    assert alarms <= 5


def test_too_low_and_too_high_are_named() -> None:
    stored = baseline(970, 972, 968, 971, 969)
    (fine,) = check_metrics(stored, [result(969)]).metrics
    assert (fine.metric, fine.status) == ("accuracy", "passed")
    for correct, side in ((850, "below"), (1000, "above")):
        found = check_metrics(stored, [result(correct)])
        assert found.status == "failed"
        assert f"{side} the expected" in line(found)


def with_auroc(*areas: float) -> Baseline:
    update = {"auroc": dict(enumerate(areas)), "auroc_error": 0.01}
    return baseline(*[700] * len(areas)).model_copy(update=update)


def result_with_auroc(*areas: float | None) -> CellResult:
    scored = result(700)
    return scored.model_copy(update={"test": scored.test.model_copy(update={"auroc": areas})})


def test_auroc_has_its_own_bounds() -> None:
    stored = with_auroc(0.75)
    reach = stats.norm.ppf((1 + GATE_CONFIDENCE) / 2) * 0.01
    found = auroc_bounds(stored, seeds=1)
    assert (found.low, found.high) == (pytest.approx(0.75 - reach), pytest.approx(0.75 + reach))

    def auroc(*areas: float | None) -> MetricCheck:
        return check_metrics(stored, [result_with_auroc(*areas)]).metrics[1]

    assert (auroc(0.8, 0.7).metric, auroc(0.8, 0.7).status) == ("auroc", "passed")
    assert auroc(0.7).value == pytest.approx(0.7)
    assert {auroc(area).status for area in (0.7, 0.8)} == {"failed"}
    # A network whose logits are NaN has no area: that must not pass.
    assert math.isnan(auroc(None).value)
    assert auroc(None).status == "failed"
    wider = auroc_bounds(with_auroc(0.74, 0.75, 0.76), seeds=1)
    assert wider.low < found.low


def test_a_failed_cell_and_another_split_fail() -> None:
    failed = result(970).model_copy(update={"test": None, "status": "failed", "error": "boom"})
    found = check_metrics(baseline(970), [failed])
    assert found.status == "failed"
    assert "boom" in line(found)
    other = check_metrics(baseline(970), [result(97, examples=100)])
    assert (other.status, other.examples) == ("failed", (100, 1000))


def test_files_come_back_and_damaged_ones_are_refused(tmp_path) -> None:
    path = tmp_path / "baselines.json"
    write_baselines(path, [baseline(970, 971)])
    assert read_baselines(path) == [baseline(970, 971)]
    path.write_text("{}")
    with pytest.raises(BenchError, match="cannot read baselines"):
        read_baselines(path)

"""How far losses agree, and how far rounding may lead them."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.agreement import DRIFT_FACTOR, agreement
from harness.parity.rounding import ROUNDINGS, LossDrift, off_by_rounding, relative_difference
from harness.results.folder import CellArrays

STEPS = 400
DRIFT = LossDrift(framework="torch", seed=0, steps=STEPS, rises=((1, 1e-7), (50, 1e-3), (60, 0.01)))


def cell(losses):
    logits = np.zeros((2, 2), np.float32)
    return CellArrays(step_losses=losses, test_logits=logits, test_labels=np.zeros(2, np.uint8))


def compared(difference, drift):
    base = np.linspace(2, 1, STEPS)
    return agreement("jax", 0, cell(base * (1 + difference)), cell(base), 1e-4, drift)


def test_the_largest_difference_only_grows():
    assert DRIFT.largest(70).tolist() == [1e-7] * 49 + [1e-3] * 10 + [0.01] * 11


def test_rounding_may_come_sooner_than_where_it_was_measured():
    expected = DRIFT.expected(70)
    assert expected[18] == 1e-7  # step 19 looks up to step 48
    assert expected[19] == 1e-3
    assert expected[23] == 1e-3
    assert expected[24] == 0.01
    assert DRIFT.expected(STEPS)[-1] == DRIFT.largest(STEPS)[-1]


def test_what_rounding_explains_is_no_difference():
    """A multiple of the measured drift passes, at every step of the training, and no more."""
    within = DRIFT_FACTOR * DRIFT.expected(STEPS) * 0.99
    assert compared(within, DRIFT).apart is None
    assert compared(within, DRIFT).steps == STEPS
    late = within + 2.0 * (np.arange(STEPS) == 300)
    step, difference, expected = compared(late, DRIFT).apart
    assert (step, expected) == (301, pytest.approx(DRIFT_FACTOR * 0.01))
    assert difference == pytest.approx(late[300] / (1 + late[300]))
    early = np.zeros(STEPS) + 2e-4 * (np.arange(STEPS) == 9)
    assert compared(early, DRIFT).apart == (10, pytest.approx(2e-4, rel=0.01), 1e-4)


def test_without_a_measurement_the_first_hundred_steps_count():
    late = np.zeros(STEPS) + 0.5 * (np.arange(STEPS) >= 100)
    assert compared(late, None).apart is None
    assert compared(late, None).steps == 100
    assert compared(np.full(STEPS, 2e-4), None).apart[0] == 1


def test_a_loss_that_is_no_number():
    losses = np.zeros(STEPS)
    losses[10] = np.nan
    assert np.isnan(compared(losses, DRIFT).largest_difference)
    assert relative_difference(np.zeros(2), np.array([0.0, 1.0])).tolist() == [0, 1]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_weights_are_off_by_a_few_roundings(precision):
    weights = {"w": np.linspace(-1, 1, 1001, dtype=precision), "b": np.zeros(3, precision)}
    rounded = off_by_rounding(weights, precision)
    off = np.abs(rounded["w"] - weights["w"]) / np.finfo(precision).eps
    assert rounded["w"].dtype == precision
    assert (off <= (ROUNDINGS + 1) * np.abs(weights["w"])).all()
    assert np.mean(off > 0) > 0.9

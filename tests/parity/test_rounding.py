"""How far rounding leads losses: what the second training starts from."""

from __future__ import annotations

import numpy as np
import pytest

from harness.config import Optimizer
from harness.parity.rounding import ROUNDINGS, after_rounded_gradient, off_by_rounding
from harness.protocol.optimizer import SLOTS, OptimizerState
from harness.reference.optimizers import UpdateRule

RATE = 0.01


def first_step(settings, weights, gradients):
    """Weights and state after one step of the reference's rule."""
    trained = {name: array.copy() for name, array in weights.items()}
    rule = UpdateRule(settings)
    rule.step(trained, gradients, RATE)
    held = dict(zip(SLOTS[settings.name], (rule.first, rule.second), strict=False))
    return trained, OptimizerState(held, 0 if settings.name == "sgd" else 1)


@pytest.mark.parametrize("name", SLOTS)
def test_a_rounded_first_gradient_makes_the_step_that_the_rule_makes_of_it(name):
    settings = Optimizer(name=name, weight_decay=0.1 * (name != "adam"), epsilon=1e-20)
    draw = np.random.default_rng(0).normal
    weights = {"w": draw(size=(4, 5)), "b": draw(size=4)}
    gradients = {"w": draw(size=(4, 5)), "b": np.array([1.0, -1e-16, 0.0, 1e-18])}
    before = first_step(settings, weights, gradients)
    after, state = after_rounded_gradient(*before, settings, RATE)

    # The gradient that the state tells of, and what the rule makes of that.
    scale = 1 if name == "sgd" else 1 - settings.beta1
    decay = 0.0 if name == "adamw" else settings.weight_decay
    told = {
        key: kept / scale - decay * weights[key]
        for key, kept in state.slots[SLOTS[name][0]].items()
    }
    for key, gradient in gradients.items():
        largest = np.abs(gradient + decay * weights[key]).max()
        off = np.abs(told[key] - gradient).max()
        assert 0 < off <= 1.01 * ROUNDINGS * np.finfo(float).eps * largest
    expected, wanted = first_step(settings, weights, told)
    for key in weights:
        np.testing.assert_allclose(after[key], expected[key], rtol=1e-12)
        for slot, arrays in wanted.slots.items():
            np.testing.assert_allclose(state.slots[slot][key], arrays[key], rtol=1e-9, atol=1e-40)
    assert state.steps == wanted.steps
    if name != "sgd":  # of elements that are rounding, the sign is too: a whole step of difference
        assert np.abs(after["b"] - before[0]["b"]).max() > 1e-9


def test_weights_are_off_by_rounding():
    weights = {"w": np.ones(1000, np.float32)}
    found = off_by_rounding(weights, "float32")["w"]
    assert found.dtype == np.float32
    off = np.abs(found - 1).max() / np.finfo(np.float32).eps
    assert 1 < off <= ROUNDINGS

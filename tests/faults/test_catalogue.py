"""The catalogue of faults and the code that plants them are of one list."""

from __future__ import annotations

import numpy as np
import pytest

from harness.reference import operations as op
from harness.reference.faults import inputs, layers, losses, updates
from harness.reference.faults.catalogue import FITTED, KINDS, OPERATIONS, Fault, describe
from harness.reference.tape import Variable, backward

FITTED_LOSSES = {"loss scaled", "loss reported", "label smoothing fitted"}


def kinds(operation: str) -> set[str]:
    return {name for name, kind in KINDS.items() if kind.operation == operation}


@pytest.mark.parametrize(
    ("operation", "made"),
    [
        ("pixels", inputs.PIXELS),
        ("rows", inputs.ROWS),
        ("labels", inputs.LABELS),
        *layers.LAYERS.items(),
        ("head", layers.HEAD),
        ("loss", {*losses.LOSSES, *FITTED_LOSSES, "decay in the loss"}),
        ("update", {*updates.SETTINGS, *updates.FORMULAS}),
        ("rates", {*inputs.RATES, "rate scaled"}),
        ("order", inputs.ORDER),
        ("augmentation", {*inputs.AUGMENTATION, *inputs.AUGMENTED, "grey for black"}),
    ],
)
def test_every_fault_of_the_catalogue_can_be_planted(operation: str, made: object) -> None:
    assert kinds(operation) == set(made)


def test_every_fault_has_words() -> None:
    words = [describe(Fault(name, amount=0.125)) for name in KINDS]
    assert len(set(words)) == len(words)
    assert all("{" not in one for one in words)
    assert {kind.operation for kind in KINDS.values()} == set(OPERATIONS)
    assert set(KINDS) > FITTED


def test_a_fault_is_described_with_its_layer() -> None:
    assert describe(Fault("no activation", ("conv1",))) == "activation after conv1: missing"
    assert describe(Fault("no activation")) == "every activation: missing"
    assert describe(Fault("no dense bias", ("fc",))) == "fc: bias missing"
    four = ("a", "b", "c", "d")
    assert describe(Fault("no dense bias", four)) == "a, b, c and 1 more: bias missing"


def gradient(pool, values: np.ndarray, window: int, stride: int, padding: int) -> tuple:
    x = Variable(values, differentiable=True)
    y = pool(x, window, stride=stride, padding=padding)
    backward(op.mean(y * Variable(np.arange(y.value.size, dtype=float).reshape(y.shape))))
    return y.value, x.gradient


def test_the_gradient_of_nnlib_goes_to_the_first_value_nearly_equal_to_the_largest() -> None:
    """Exact but for near ties: of [1, 1 + 1e-12] Julia's NNlib chooses the first."""
    pool = layers.POOLING["nearly largest"]
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6))
    for window in ((2, 2, 0), (3, 2, 1)):
        found, exact = gradient(pool, x, *window), gradient(op.max_pool, x, *window)
        assert np.array_equal(found[0], exact[0])
        assert np.array_equal(found[1], exact[1])
    near = np.array([[[[0.0, 0.0], [0.0, 1.0]], [[1.0, 1.0 + 1e-12], [0.5, 0.0]]]])
    value, first = gradient(pool, near, 2, 2, 0)
    assert value.tolist() == [[[[1.0]], [[1.0 + 1e-12]]]]
    assert first[0, 1].tolist() == [[0.5, 0], [0, 0]]
    assert gradient(op.max_pool, near, 2, 2, 0)[1][0, 1].tolist() == [[0, 0.5], [0, 0]]

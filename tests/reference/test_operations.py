"""Gradients of the reference's operations against finite differences, and values by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.reference import operations as op
from harness.reference.losses import binary_cross_entropy, softmax_cross_entropy
from harness.reference.tape import Variable, backward

STEP = 1e-6
TARGETS = np.array([[0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
LABELS = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
MAPS, CHANNELS, MATRIX = (2, 3, 6, 5), (3,), (2, 3)


def batch_norm(training: bool) -> Callable[..., Variable]:
    def call(x: Variable, scale: Variable, shift: Variable) -> Variable:
        mean, var = np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.0, 2.0])
        return op.batch_norm(x, scale, shift, mean, var, training=training)

    return call


CASES = {
    "convolution": (op.convolution, MAPS, (4, 3, 3, 2), (4,)),
    "convolution without bias": (lambda x, w: op.convolution(x, w, None), MAPS, (4, 3, 2, 2)),
    "padded and strided convolution": (
        lambda x, w, b: op.convolution(x, w, b, stride=2, padding=2), MAPS, (4, 3, 3, 3), (4,)
    ),
    "dense": (op.dense, MATRIX, (4, 3), (4,)),
    "batch norm in training": (batch_norm(True), MAPS, CHANNELS, CHANNELS),
    "batch norm in evaluation": (batch_norm(False), MAPS, CHANNELS, CHANNELS),
    "tanh": (op.tanh, MATRIX),
    "relu": (op.relu, MATRIX),
    "sigmoid": (op.sigmoid, MATRIX),
    "softplus": (op.softplus, MATRIX),
    "log softmax": (op.log_softmax, MATRIX),
    "exponential": (op.exponential, MATRIX),
    "square root": (lambda x: op.square_root(x * x + 1.0), MATRIX),
    "quotient": (lambda x, y: x / (y * y + 1.0), MATRIX, (3,)),
    "difference": (lambda x, y: x - y * 2.0, MATRIX, (2, 1)),
    "max pooling": (lambda x: op.max_pool(x, 2, stride=2), MAPS),
    "overlapping max pooling": (lambda x: op.max_pool(x, 3, stride=2, padding=1), MAPS),
    "average pooling": (lambda x: op.average_pool(x, 2, stride=2), MAPS),
    "overlapping average pooling": (lambda x: op.average_pool(x, 3, stride=2, padding=1), MAPS),
    "global average pooling": (lambda x: op.average(x, (2, 3)), MAPS),
    "flatten": (op.flatten, MAPS),
    "transposed": (lambda x: op.transposed(x, (2, 0, 3, 1)), MAPS),
    "flipped": (lambda x: op.flipped(x, (2, 3)), MAPS),
    "taken": (lambda x: op.taken(x, np.array([4, 0, 0, 2]), 3), MAPS),
    "concatenation": (lambda x, y: op.concatenate([x, y, x]), MAPS, (2, 1, 6, 5)),
    "residual": (lambda x: op.tanh(x) + x, MAPS),
    "softmax cross-entropy": (lambda x: softmax_cross_entropy(x, TARGETS), MATRIX),
    "binary cross-entropy": (lambda x: binary_cross_entropy(x, LABELS), MATRIX),
    "weighted binary cross-entropy": (
        lambda x: binary_cross_entropy(x, LABELS, np.array([3.0, 1.0, 0.5])), MATRIX
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    function, *shapes = CASES[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    weights = rng.standard_normal(function(*map(Variable, arrays)).shape)

    def total(*values: np.ndarray) -> float:
        return float((function(*map(Variable, values)).value * weights).sum())

    inputs = [Variable(array, differentiable=True) for array in arrays]
    y = function(*inputs)
    backward(Variable(np.asarray((y.value * weights).sum()), [(y, lambda g: g * weights)]))
    for place, given in enumerate(inputs):
        expected = np.empty_like(given.value)
        for index in np.ndindex(given.shape):
            ahead, behind = ([array.copy() for array in arrays] for _ in range(2))
            ahead[place][index] += STEP
            behind[place][index] -= STEP
            expected[index] = (total(*ahead) - total(*behind)) / (2 * STEP)
        assert given.gradient == pytest.approx(expected, abs=1e-8, rel=1e-6)


def test_convolution_is_cross_correlation() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    kernel = np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
    y = op.convolution(Variable(x), Variable(kernel), None).value
    assert y.tolist() == [[[[40.0, 51.0], [73.0, 84.0]]]]


def test_padding_counts_in_no_pooling() -> None:
    x = Variable(np.array([[[[-1.0, -2.0], [-3.0, -4.0]]]]))
    assert op.max_pool(x, 3, stride=2, padding=1).value.item() == -1
    assert op.average_pool(x, 3, stride=2, padding=1).value.item() == -2.5


def test_of_equal_values_the_first_gets_the_gradient_of_max_pooling() -> None:
    x = Variable(np.ones((1, 1, 2, 4)), differentiable=True)
    y = op.max_pool(x, 2, stride=2)
    backward(op.mean(y))
    assert x.gradient is not None
    assert x.gradient.tolist() == [[[[0.5, 0.0, 0.5, 0.0], [0.0] * 4]]]


def test_running_statistics_move_a_tenth_of_the_way_to_those_of_the_batch() -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 5))
    mean, var = np.zeros(3), np.ones(3)
    ones = Variable(np.ones(3))
    op.batch_norm(Variable(x), ones, ones, mean, var, training=True)
    assert mean == pytest.approx(0.1 * x.mean((0, 2, 3)))
    assert var == pytest.approx(0.9 + 0.1 * x.var((0, 2, 3), ddof=1))
    before = mean.copy()
    op.batch_norm(Variable(x), ones, ones, mean, var, training=False)
    assert np.array_equal(mean, before)


def test_losses_do_not_overflow() -> None:
    logits = Variable(np.array([[1e4, -1e4]]), differentiable=True)
    assert binary_cross_entropy(logits, np.array([[0.0, 1.0]])).value == pytest.approx(1e4)
    assert softmax_cross_entropy(logits, np.array([[0.0, 1.0]])).value == pytest.approx(2e4)
    loss = binary_cross_entropy(logits, np.array([[0.0, 1.0]]))
    backward(loss)
    assert logits.gradient == pytest.approx(np.array([[0.5, -0.5]]))

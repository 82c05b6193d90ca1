"""What a case should give: the reference's operations in float64, and how exact that can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.parity.random.cases import Case
from harness.reference import operations as ops
from harness.reference.tape import Array, Variable, backward

DRIFT_FACTOR, SUM_FACTOR = 500.0, 32.0
"""An array may deviate by so many times what rounding makes of the reference (frameworks add the
thousands of terms of a gradient one after the other, NumPy in pairs), or by so many epsilons times
the root of the number of inputs, since rounding errors of long sums grow like that."""
SMALLEST = 0.1
"""What an array is measured against at least: numbers are drawn of magnitude 1, and where nothing
is left of them, as of a shift before a normalisation, what is found is rounding."""
ROUNDINGS, TRIALS = 8, 3
"""Machine epsilons by which everything given is off, every part of a gradient being off by one; and
how often that is tried."""

Disturb = Callable[[Array], Array]


@dataclass(frozen=True)
class Expected:
    """Result and gradients, in the order in which ``Dialect.compute`` returns them."""

    arrays: list[Array]
    tolerances: list[float]
    """Relative to the largest magnitude of each array."""


def expected(case: Case) -> Expected:
    """What ``case`` gives, with tolerances from the case itself.

    The reference in float32, every step rounded, shows how rounding errors grow in the case, and so
    does the one in float64 where what is given and the parts of gradients are off by roundings of
    float32: where a sum cancels, as does the gradient of a bias before a batch normalisation, a
    single computation may lose nothing by chance. In float64 errors are smaller by the ratio of the
    machine epsilons.
    """
    x, parameters, cotangent = case.arrays()
    exact = compute(case, *_as([x, *parameters], cotangent, np.float64))
    others = [compute(case, *_as([x, *parameters], cotangent, np.float32))]
    for trial in range(TRIALS):
        draw = np.random.default_rng([case.seed, trial])
        given, parts = _off_by(ROUNDINGS, draw), _off_by(1, draw)
        others.append(compute(case, [*map(given, (x, *parameters))], given(cotangent), parts))
    epsilon = float(np.finfo(case.dtype).eps)
    floor = SUM_FACTOR * epsilon * (1 + np.sqrt(x.size))
    growth = DRIFT_FACTOR * epsilon / float(np.finfo(np.float32).eps)
    drifts = [
        max(largest_deviation(other[number], array)[0] for other in others)
        for number, array in enumerate(exact)
    ]
    return Expected(exact, [max(floor, growth * drift) for drift in drifts])


def _off_by(roundings: int, draw: np.random.Generator) -> Disturb:
    reach = roundings * float(np.finfo(np.float32).eps)
    return lambda array: np.float64(array) * (1 + reach * draw.uniform(-1, 1, array.shape))


def _as(
    given: Sequence[NDArray[Any]], cotangent: NDArray[Any], dtype: type[np.floating]
) -> tuple[list[Array], Array]:
    return [np.asarray(array, dtype) for array in given], np.asarray(cotangent, dtype)


def largest_deviation(found: NDArray[Any], exact: Array) -> tuple[float, tuple[int, ...]]:
    """Relative to the largest magnitude of ``exact``, at least ``SMALLEST``, and where; infinite
    where shapes differ."""
    if found.shape != exact.shape:
        return np.inf, ()
    difference = np.abs(np.asarray(found, np.float64) - exact)
    # What is no number in one and not in the other is infinitely far.
    difference[np.isnan(difference)] = np.inf
    difference[np.isnan(found) & np.isnan(exact)] = 0
    if not difference.size:
        return 0.0, ()
    where = np.unravel_index(int(difference.argmax()), difference.shape)
    scale = max(float(np.abs(exact).max()), SMALLEST)
    return float(difference[where]) / scale, tuple(map(int, where))


def compute(
    case: Case, given: Sequence[Array], cotangent: Array, disturb: Disturb = lambda part: part
) -> list[Array]:
    """Result, and gradients of the sum of it times ``cotangent`` in all that is ``given``."""
    variables = [Variable(array, differentiable=True) for array in given]
    parameters = iter(variables[1:])
    y = variables[0]
    for step, shapes in zip(case.steps, case.parameters, strict=True):
        y = OPERATIONS[step.operation](y, *(next(parameters) for _ in shapes), **step.named)
    backward(total(y * Variable(cotangent)), disturb)
    gradients = (
        v.gradient if v.gradient is not None else np.zeros_like(v.value) for v in variables
    )
    return [y.value, *gradients]


def total(x: Variable) -> Variable:
    return Variable(x.value.sum(), [(x, lambda g: np.broadcast_to(g, x.shape))])


def _convolution(
    x: Variable, w: Variable, b: Variable, *, window: int, outputs: int, stride: int, padding: int
) -> Variable:
    return ops.convolution(x, w, b, stride=stride, padding=padding)


def _batch_norm(x: Variable, scale: Variable, shift: Variable) -> Variable:
    channels = x.shape[1]
    return ops.batch_norm(x, scale, shift, np.zeros(channels), np.ones(channels), training=True)


def _sum(x: Variable) -> Variable:
    return Variable(x.value.sum(-1), [(x, lambda g: np.broadcast_to(g[..., None], x.shape))])


def _largest(x: Variable) -> Variable:
    first = np.eye(x.shape[-1])[x.value.argmax(-1)]
    return Variable(x.value.max(-1), [(x, lambda g: g[..., None] * first)])


def _logsumexp(x: Variable) -> Variable:
    log_shares = ops.log_softmax(Variable(x.value)).value
    y = x.value[..., 0] - log_shares[..., 0]
    return Variable(y, [(x, lambda g: g[..., None] * np.exp(log_shares))])


def _cross_entropy(x: Variable) -> Variable:
    log_shares = ops.log_softmax(Variable(x.value)).value
    chosen = np.eye(x.shape[1])[np.arange(len(x.value)) % x.shape[1]]
    y = -(log_shares * chosen).sum(-1)
    return Variable(y, [(x, lambda g: g[..., None] * (np.exp(log_shares) - chosen))])


def _binary_cross_entropy(x: Variable) -> Variable:
    labels = np.add.outer(np.arange(x.shape[0]), np.arange(x.shape[1])) % 2
    losses = ops.softplus(x) - x * Variable(labels.astype(x.value.dtype))
    return ops.average(losses, (1,))


OPERATIONS: dict[str, Callable[..., Variable]] = {
    "convolution": _convolution,
    "convolution_channels_last": _convolution,
    "max_pool": ops.max_pool,
    "average_pool": ops.average_pool,
    "batch_norm": _batch_norm,
    "flatten": ops.flatten,
    "spatial_mean": lambda x: ops.average(x, (2, 3)),
    "dense": lambda x, w, b, *, outputs: ops.dense(x, w, b),
    "product": lambda x, w, *, outputs: ops.dense(x, w, None),
    "relu": ops.relu,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "log_softmax": ops.log_softmax,
    "row_sum": _sum,
    "row_mean": lambda x: ops.average(x, (1,)),
    "row_max": _largest,
    "logsumexp": _logsumexp,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
}

"""Faults of single layers: each function takes the place of an operation, with its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.special import erf

from harness.reference import operations as op
from harness.reference.network import Operation
from harness.reference.tape import Array, Variable

# --- Convolution: x, weight, bias, stride and padding ---------------------------------------------


def with_kernel(change: Callable[[Variable], Variable]) -> Operation:
    return lambda x, weight, bias, **how: op.convolution(x, change(weight), bias, **how)


def padded(x: Variable, rows: tuple[int, int], columns: tuple[int, int], mode: str) -> Variable:
    """Pixels before and behind as ``np.pad`` takes them from the image."""
    for axis, around in ((2, rows), (3, columns)):
        x = op.taken(x, np.pad(np.arange(x.shape[axis]), around, mode=mode), axis)  # type: ignore[call-overload]
    return x


def with_zeros(x: Variable, rows: tuple[int, int], columns: tuple[int, int]) -> Variable:
    around = ((0, 0), (0, 0), rows, columns)
    (top, _), (left, _) = rows, columns
    height, width = x.shape[2:]
    return Variable(
        np.pad(x.value, around), [(x, lambda g: g[:, :, top : top + height, left : left + width])]
    )


def same_padding(
    x: Variable, weight: Variable, bias: Variable | None, *, stride: int, padding: int
) -> Variable:
    """The padding called SAME: where the sum is odd, the end gets one more."""
    sums = [
        max((-(-side // stride) - 1) * stride + kernel - side, 0)
        for side, kernel in zip(x.shape[2:], weight.shape[2:], strict=True)
    ]
    rows, columns = ((total // 2, total - total // 2) for total in sums)
    return op.convolution(with_zeros(x, rows, columns), weight, bias, stride=stride)


def one_sided(
    x: Variable, weight: Variable, bias: Variable | None, *, stride: int, padding: int, before: bool
) -> Variable:
    around = (2 * padding, 0) if before else (0, 2 * padding)
    return op.convolution(with_zeros(x, around, around), weight, bias, stride=stride)


def padded_from_image(
    x: Variable, weight: Variable, bias: Variable | None, *, stride: int, padding: int, mode: str
) -> Variable:
    around = (padding, padding)
    return op.convolution(padded(x, around, around, mode), weight, bias, stride=stride)


def shifted_stride(
    x: Variable, weight: Variable, bias: Variable | None, *, stride: int, padding: int
) -> Variable:
    y = op.convolution(x, weight, bias, padding=padding)
    for axis in (2, 3):
        y = op.taken(y, np.arange(stride - 1, y.shape[axis], stride), axis)
    return y


CONVOLUTION: Mapping[str, Operation] = {
    "kernel flipped": with_kernel(lambda weight: op.flipped(weight, (2, 3))),
    "kernel transposed": with_kernel(lambda weight: op.transposed(weight, (0, 1, 3, 2))),
    "kernel channels swapped": with_kernel(lambda weight: op.transposed(weight, (1, 0, 2, 3))),
    "no convolution bias": lambda x, weight, bias, **how: op.convolution(x, weight, None, **how),
    "convolution bias twice": lambda x, weight, bias, **how: op.convolution(
        x, weight, None if bias is None else bias * 2.0, **how
    ),
    "padding SAME": same_padding,
    "padding before": partial(one_sided, before=True),
    "padding behind": partial(one_sided, before=False),
    "padding mirrored": partial(padded_from_image, mode="reflect"),
    "padding repeated": partial(padded_from_image, mode="edge"),
    "padding around": partial(padded_from_image, mode="wrap"),
    "stride left out": lambda x, weight, bias, *, stride, padding: op.convolution(
        x, weight, bias, padding=padding
    ),
    "stride from the second pixel": shifted_stride,
}

# --- Batch normalisation: x, scale, shift, running mean and variance, training --------------------

Statistics = tuple[Variable, Variable]


def normalisation(
    x: Variable,
    scale: Variable,
    shift: Variable,
    running_mean: Array,
    running_var: Array,
    *,
    training: bool,
    epsilon: float = op.EPSILON,
    outside: bool = False,
    change: Callable[[Variable, Variable], Statistics] = lambda mean, var: (mean, var),
    move: Callable[[Array, Array], None] = op.move_towards,
    biased: bool = False,
    root: bool = False,
) -> Variable:
    """``operations.batch_norm`` with everything in it that may be wrong.

    Args:
        epsilon: what is added to the variance, or to its root.
        outside: it is added to the root.
        change: what is normalised by in training, from mean and variance of the batch.
        move: how running statistics move towards those of a batch.
        biased: they move towards the biased variance.
        root: towards the standard deviation.
    """

    def normalised(mean: Variable, var: Variable) -> Variable:
        divisor = op.square_root(var) + epsilon if outside else op.square_root(var + epsilon)
        return op.scaled(x, mean, divisor, scale, shift)

    if not training:
        return normalised(Variable(running_mean), Variable(running_var))
    mean, var = op.statistics(x)
    count = x.value.size // x.shape[1]
    kept = var.value if biased else var.value * count / (count - 1)
    move(running_mean, mean.value)
    move(running_var, np.sqrt(kept) if root else kept)
    return normalised(*change(mean, var))


def unbiased(x: Variable, *arguments: Any, training: bool) -> Variable:
    count = x.value.size // x.shape[1]
    return normalisation(
        x,
        *arguments,
        training=training,
        change=lambda mean, var: (mean, var * (count / (count - 1))),
    )


def of_each_image(
    x: Variable,
    scale: Variable,
    shift: Variable,
    running_mean: Array,
    running_var: Array,
    *,
    training: bool,
) -> Variable:
    if not training:
        return op.batch_norm(x, scale, shift, running_mean, running_var, training=False)
    count, channels, height, width = x.shape
    mean = op.average(x, (2, 3))
    centred = x - op.reshaped(mean, (count, channels, 1, 1))
    var = op.average(centred * centred, (2, 3))
    op.move_towards(running_mean, mean.value.mean(axis=0))
    pixels = height * width
    op.move_towards(running_var, var.value.mean(axis=0) * pixels / (pixels - 1))
    divisor = op.reshaped(op.square_root(var + op.EPSILON), (count, channels, 1, 1))
    return centred / divisor * op.per_channel(scale) + op.per_channel(shift)


def running_in_training(*arguments: Any, training: bool) -> Variable:
    return op.batch_norm(*arguments, training=False)


def batch_in_evaluation(
    x: Variable, scale: Variable, shift: Variable, mean: Array, var: Array, *, training: bool
) -> Variable:
    if not training:
        mean, var = mean.copy(), var.copy()
    return op.batch_norm(x, scale, shift, mean, var, training=True)


def without(scale: bool = False, shift: bool = False) -> Operation:
    def call(x: Variable, given_scale: Variable, given_shift: Variable, *rest: Any, **how: Any):  # type: ignore[no-untyped-def]
        one, zero = (Variable(np.full_like(given_scale.value, value)) for value in (1, 0))
        return op.batch_norm(
            x, one if scale else given_scale, zero if shift else given_shift, *rest, **how
        )

    return call


def moving(share: float, *, biased: bool = False) -> Operation:
    return partial(normalisation, move=partial(op.move_towards, share=share), biased=biased)


NORMALISATION: Mapping[str, Operation] = {
    "epsilon 1e-3": partial(normalisation, epsilon=1e-3),
    "epsilon 1e-4": partial(normalisation, epsilon=1e-4),
    "epsilon 1e-6": partial(normalisation, epsilon=1e-6),
    "epsilon 0": partial(normalisation, epsilon=0.0),
    "epsilon outside": partial(normalisation, outside=True),
    "batch statistics in evaluation": batch_in_evaluation,
    "running statistics in training": running_in_training,
    "statistics of each image": of_each_image,
    "unbiased normalisation": unbiased,
    "no scale": without(scale=True),
    "no shift": without(shift=True),
    "statistics without gradient": partial(
        normalisation, change=lambda mean, var: (mean.detached(), var.detached())
    ),
    "biased running variance": partial(normalisation, biased=True),
    "momentum swapped": moving(0.9),
    "momentum 0.99": moving(0.01),
    "momentum 0.99, biased": moving(0.01, biased=True),
    "momentum fitted": normalisation,
    "statistics frozen": moving(0.0),
    "running deviation": partial(normalisation, root=True),
}

# --- What has no parameters -----------------------------------------------------------------------


def elementwise(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array]
) -> Operation:
    return lambda x: op.elementwise(x, function, derivative)


def normal_density(x: Array) -> Array:
    return np.asarray(np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def normal_distribution(x: Array) -> Array:
    return np.asarray((1 + erf(x / math.sqrt(2))) / 2)


ACTIVATION: Mapping[str, Operation] = {
    "no activation": lambda x: x,
    "tanh": op.tanh,
    "relu": op.relu,
    "sigmoid": op.sigmoid,
    "leaky relu": elementwise(
        lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)
    ),
    "gelu": elementwise(
        lambda x: x * normal_distribution(x),
        lambda x: normal_distribution(x) + x * normal_density(x),
    ),
    "silu": lambda x: x * op.sigmoid(x),
    "softplus": op.softplus,
    "scaled tanh": lambda x: op.tanh(x * (2 / 3)) * 1.7159,
    "hard tanh": elementwise(
        lambda x: np.clip(x, -1, 1), lambda x: np.where(np.abs(x) < 1, 1.0, 0.0)
    ),
}


def nearly_largest(x: Variable, window: int, *, stride: int, padding: int) -> Variable:
    """Max pooling whose gradient goes to the first value nearly equal to the largest.

    As in NNlib.jl on a CPU (``y ≈ x`` in ``src/impl/pooling_direct.jl``, releases 0.7 and 0.8):
    nearly equal is to the square root of the precision, relative to the largest.
    """
    padded = op.zero_padded(x.value, padding, -np.inf)
    parts = op.windows(padded, (window, window), stride)
    flat = parts.reshape(*parts.shape[:2], window**2, *parts.shape[4:])
    largest = flat.max(axis=2, keepdims=True)
    bound = np.finfo(x.value.dtype).eps ** 0.5 * np.abs(largest)
    first = (np.abs(flat - largest) <= bound).argmax(axis=2)[:, :, None]

    def to_input(g: Array) -> Array:
        spread = np.zeros_like(flat)
        np.put_along_axis(spread, first, g[:, :, None], axis=2)
        parts_of_gradient = spread.reshape(parts.shape)
        return op.cropped(op.from_windows(parts_of_gradient, padded.shape, stride), padding)

    return Variable(largest[:, :, 0], [(x, to_input)])


def largest_with_zeros(x: Variable, window: int, *, stride: int, padding: int) -> Variable:
    around = (padding, padding)
    return op.max_pool(with_zeros(x, around, around), window, stride=stride)


def first_pixels(x: Variable, window: int, *, stride: int, padding: int) -> Variable:
    for axis in (2, 3):
        x = op.taken(x, np.arange(0, x.shape[axis], stride), axis)
    return x


def kept_edges(x: Variable, window: int, *, stride: int, padding: int, largest: bool) -> Variable:
    """With the windows that the last row and column do not fill."""
    pool = op.max_pool if largest else op.average_pool
    value = -np.inf if largest else 0.0
    missing = [-(side + 2 * padding - window) % stride for side in x.shape[2:]]
    height, width = x.shape[2:]
    rows, columns = ((padding, padding + more) for more in missing)
    wide = Variable(
        np.pad(x.value, ((0, 0), (0, 0), rows, columns), constant_values=value),
        [(x, lambda g: g[:, :, padding : padding + height, padding : padding + width])],
    )
    y = pool(wide, window, stride=stride)
    if largest:
        return y
    ones = np.pad(np.ones((1, 1, height, width), x.value.dtype), ((0, 0), (0, 0), rows, columns))
    count = op.windows(ones, (window, window), stride).sum(axis=(2, 3))
    return y * Variable(window**2 / count)


POOLING: Mapping[str, Operation] = {
    "average for largest": op.average_pool,
    "largest for average": op.max_pool,
    "padding of zeros": largest_with_zeros,
    "pooling SAME": kept_edges,
    "nearly largest": nearly_largest,
    "sums": lambda x, window, **how: op.average_pool(x, window, **how) * float(window**2),
    "every other pixel": first_pixels,
    "pooling left out": lambda x, window, **how: x,
}
_OF_LARGEST = frozenset({"average for largest", "padding of zeros", "nearly largest"})


def pooling(kind: str, function: Operation) -> Operation:
    """What ``kind`` makes of average or max pooling; the same where it is about the other."""
    largest = function is op.max_pool
    if kind == "pooling SAME":
        return partial(kept_edges, largest=largest)
    if (kind in _OF_LARGEST and not largest) or (kind == "largest for average" and largest):
        return function
    return POOLING[kind]


def largest_of_image(x: Variable, axes: tuple[int, ...]) -> Variable:
    height, width = x.shape[2:]
    if height != width:  # as one window of the whole image
        flat = op.reshaped(x, (*x.shape[:2], 1, height * width))
        first = flat.value.argmax(axis=3)[..., None]
        y = np.take_along_axis(flat.value, first, axis=3)

        def to_input(g: Array) -> Array:
            spread = np.zeros_like(flat.value)
            np.put_along_axis(spread, first, g.reshape(y.shape), axis=3)
            return spread

        return Variable(y[:, :, 0, 0], [(flat, to_input)])
    return op.reshaped(op.max_pool(x, height, stride=1), x.shape[:2])


AVERAGE: Mapping[str, Operation] = {
    "sum of the image": lambda x, axes: op.average(x, axes) * float(x.shape[2] * x.shape[3]),
    "largest of the image": largest_of_image,
}
FLATTEN: Mapping[str, Operation] = {
    "channels last": lambda x: op.flatten(op.transposed(x, (0, 2, 3, 1))),
    "column-major": lambda x: op.flatten(op.transposed(x, (0, 3, 2, 1))),
    "width before height": lambda x: op.flatten(op.transposed(x, (0, 1, 3, 2))),
}
JOIN: Mapping[str, Operation] = {
    "no join": lambda parts: parts[0],
    "join the other way round": lambda parts: op.concatenate(parts[::-1]),
}
DENSE: Mapping[str, Operation] = {
    "no dense bias": lambda x, weight, bias: op.dense(x, weight, None),
    "dense bias twice": lambda x, weight, bias: op.dense(x, weight, bias * 2.0),
    "dense transposed": lambda x, weight, bias: op.dense(x, op.transposed(weight, (1, 0)), bias),
}
HEAD: Mapping[str, Callable[[Variable], Variable]] = {
    "softmax": lambda x: op.exponential(op.log_softmax(x)),
    "log-softmax": op.log_softmax,
    "sigmoid of logits": op.sigmoid,
    "logits negated": lambda x: -x,
    "logits backwards": lambda x: op.flipped(x, (1,)),
}

LAYERS: Mapping[str, Mapping[str, Operation]] = {
    "convolution": CONVOLUTION,
    "normalisation": NORMALISATION,
    "activation": ACTIVATION,
    "pooling": POOLING,
    "average": AVERAGE,
    "flatten": FLATTEN,
    "join": JOIN,
    "dense": DENSE,
}
"""By kind of operation (``network.Layers``) and fault."""


def replacement(operation: str, kind: str, amount: float, function: Operation) -> Operation:
    """What the fault ``kind`` calls in place of ``function``, an ``operation`` of a layer."""
    if operation == "pooling":
        return pooling(kind, function)
    if kind == "momentum fitted":
        return moving(amount)
    return LAYERS[operation][kind]

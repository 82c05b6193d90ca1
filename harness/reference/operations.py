"""The operations of the networks, forward and backward.

Images and feature maps are (N, C, H, W). Convolution is cross-correlation, all padding is explicit
and the same before and behind, and pooling leaves out what does not fill a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.reference.tape import Array, Pullback, Variable

EPSILON = 1e-5
"""Of batch normalisation, inside the square root."""
MOMENTUM = 0.1
"""Share of a batch's statistics in the running ones."""

# --- Convolution and dense layers -----------------------------------------------------------------


def convolution(
    x: Variable, weight: Variable, bias: Variable | None, *, stride: int = 1, padding: int = 0
) -> Variable:
    """Cross-correlation of ``x`` (N, C, H, W) with ``weight`` (O, C, h, w), zeros around; plus
    ``bias`` (O,).

    The patches of an image under the kernel become columns, and the convolution a product of
    matrices (Chellapilla, Puri, Simard 2006).
    """
    outputs, inputs, rows, columns = weight.shape
    padded = zero_padded(x.value, padding)
    found = windows(padded, (rows, columns), stride).transpose(1, 2, 3, 0, 4, 5)
    count, height, width = found.shape[3:]
    patches = found.reshape(inputs * rows * columns, -1)
    kernel = weight.value.reshape(outputs, -1)
    y = (kernel @ patches).reshape(outputs, count, height, width).swapaxes(0, 1)

    def to_input(g: Array) -> Array:
        parts = kernel.T @ g.swapaxes(0, 1).reshape(outputs, -1)
        parts = parts.reshape(found.shape).transpose(3, 0, 1, 2, 4, 5)
        return cropped(from_windows(parts, padded.shape, stride), padding)

    def to_weight(g: Array) -> Array:
        return (g.swapaxes(0, 1).reshape(outputs, -1) @ patches.T).reshape(weight.shape)

    result = Variable(y, [(x, to_input), (weight, to_weight)])
    return result if bias is None else result + per_channel(bias)


def dense(x: Variable, weight: Variable, bias: Variable | None) -> Variable:
    """``x`` (N, I) times ``weight`` (O, I), plus ``bias`` (O,)."""
    result = Variable(
        x.value @ weight.value.T,
        [(x, lambda g: g @ weight.value), (weight, lambda g: g.T @ x.value)],
    )
    return result if bias is None else result + bias


# --- Batch normalisation --------------------------------------------------------------------------


def batch_norm(
    x: Variable,
    scale: Variable,
    shift: Variable,
    running_mean: Array,
    running_var: Array,
    *,
    training: bool,
) -> Variable:
    """``(x - mean) / sqrt(var + 1e-5) * scale + shift`` for every channel (Ioffe & Szegedy 2015).

    In training mean and variance are those of the batch, the biased variance, and the running ones
    are moved a tenth of the way to them, to the unbiased variance: they are changed in place. In
    evaluation the running ones are used.
    """
    if not training:
        return normalised(x, Variable(running_mean), Variable(running_var), scale, shift)
    mean, var = statistics(x)
    count = x.value.size // x.shape[1]
    move_towards(running_mean, mean.value)
    move_towards(running_var, var.value * count / (count - 1))
    return normalised(x, mean, var, scale, shift)


def statistics(x: Variable) -> tuple[Variable, Variable]:
    """Mean and biased variance of every channel of a batch, (C,) each."""
    mean = average(x, (0, 2, 3))
    centred = x - per_channel(mean)
    return mean, average(centred * centred, (0, 2, 3))


def normalised(
    x: Variable, mean: Variable, var: Variable, scale: Variable, shift: Variable
) -> Variable:
    return scaled(x, mean, square_root(var + EPSILON), scale, shift)


def scaled(
    x: Variable, mean: Variable, divisor: Variable, scale: Variable, shift: Variable
) -> Variable:
    """``(x - mean) / divisor * scale + shift``, all of them (C,)."""
    return (x - per_channel(mean)) * per_channel(scale / divisor) + per_channel(shift)


def move_towards(running: Array, batch: Array, share: float = MOMENTUM) -> None:
    running += share * (batch - running)


# --- Activations ----------------------------------------------------------------------------------


def tanh(x: Variable) -> Variable:
    y = np.tanh(x.value)
    return Variable(y, [(x, lambda g: g * (1 - y * y))])


def relu(x: Variable) -> Variable:
    """Its derivative at zero is zero."""
    return Variable(np.maximum(x.value, 0), [(x, lambda g: g * (x.value > 0))])


def sigmoid(x: Variable) -> Variable:
    y = logistic(x.value)
    return Variable(y, [(x, lambda g: g * y * (1 - y))])


def softplus(x: Variable) -> Variable:
    """``log(1 + exp(x))``"""
    return Variable(
        np.logaddexp(0, x.value).astype(x.value.dtype), [(x, lambda g: g * logistic(x.value))]
    )


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small), x.dtype)


def log_softmax(x: Variable) -> Variable:
    """Along the last axis."""
    shifted = x.value - x.value.max(axis=-1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return Variable(y, [(x, lambda g: g - np.exp(y) * g.sum(axis=-1, keepdims=True))])


def exponential(x: Variable) -> Variable:
    y = np.exp(x.value)
    return Variable(y, [(x, lambda g: g * y)])


def square_root(x: Variable) -> Variable:
    y = np.sqrt(x.value)
    return Variable(y, [(x, lambda g: g / (2 * y))])


def elementwise(
    x: Variable, function: Callable[[Array], Array], derivative: Callable[[Array], Array]
) -> Variable:
    """``function`` of every number, with its ``derivative``."""
    return Variable(function(x.value), [(x, lambda g: g * derivative(x.value))])


# --- Pooling --------------------------------------------------------------------------------------


def max_pool(x: Variable, window: int, *, stride: int, padding: int = 0) -> Variable:
    """Largest of every window; the gradient goes to the first that is as large, row by row.

    Padding never wins.
    """
    padded = zero_padded(x.value, padding, -np.inf)
    parts = windows(padded, (window, window), stride)
    flat = parts.reshape(*parts.shape[:2], window**2, *parts.shape[4:])
    first = flat.argmax(axis=2)[:, :, None]
    y = np.take_along_axis(flat, first, axis=2)[:, :, 0]

    def to_input(g: Array) -> Array:
        spread = np.zeros_like(flat)
        np.put_along_axis(spread, first, g[:, :, None], axis=2)
        return cropped(from_windows(spread.reshape(parts.shape), padded.shape, stride), padding)

    return Variable(y, [(x, to_input)])


def average_pool(x: Variable, window: int, *, stride: int, padding: int = 0) -> Variable:
    """Average of every window; padding counts neither in the sum nor in the number."""
    padded = zero_padded(x.value, padding)
    parts = windows(padded, (window, window), stride)
    inside = zero_padded(np.ones((1, 1, *x.shape[2:]), x.value.dtype), padding)
    count = windows(inside, (window, window), stride).sum(axis=(2, 3))

    def to_input(g: Array) -> Array:
        spread = np.broadcast_to((g / count)[:, :, None, None], parts.shape)
        return cropped(from_windows(spread, padded.shape, stride), padding)

    return Variable(parts.sum(axis=(2, 3)) / count, [(x, to_input)])


def average(x: Variable, axes: tuple[int, ...]) -> Variable:
    """Mean over ``axes``; over (2, 3) it is global average pooling."""
    y = x.value.mean(axis=axes)
    count = x.value.size // y.size

    def to_input(g: Array) -> Array:
        return np.broadcast_to(np.expand_dims(g / count, axes), x.shape)

    return Variable(y, [(x, to_input)])


def mean(x: Variable) -> Variable:
    """Of all numbers."""
    return Variable(x.value.mean(), [(x, lambda g: np.broadcast_to(g / x.value.size, x.shape))])


# --- Arrangement ----------------------------------------------------------------------------------


def flatten(x: Variable) -> Variable:
    """(N, C, H, W) to (N, C H W), the columns of a row together."""
    return reshaped(x, (len(x.value), -1))


def reshaped(x: Variable, shape: tuple[int, ...]) -> Variable:
    return Variable(x.value.reshape(shape), [(x, lambda g: g.reshape(x.shape))])


def transposed(x: Variable, axes: Sequence[int]) -> Variable:
    back = np.argsort(axes)
    return Variable(x.value.transpose(axes), [(x, lambda g: g.transpose(back))])


def flipped(x: Variable, axes: tuple[int, ...]) -> Variable:
    return Variable(np.flip(x.value, axes), [(x, lambda g: np.flip(g, axes))])


def concatenate(parts: Sequence[Variable]) -> Variable:
    """Feature maps one behind the other, along the channels."""
    inputs: list[tuple[Variable, Pullback]] = []
    start = 0
    for part in parts:
        inputs.append((part, partial(_slice, start=start, stop=start + part.shape[1])))
        start += part.shape[1]
    return Variable(np.concatenate([part.value for part in parts], axis=1), inputs)


def _slice(x: Array, start: int, stop: int) -> Array:
    return x[:, start:stop]


def taken(x: Variable, indices: NDArray[np.int64], axis: int) -> Variable:
    """Slices ``indices`` of an axis; one may be taken several times."""

    def to_input(g: Array) -> Array:
        total = np.zeros_like(x.value)
        np.add.at(np.moveaxis(total, axis, 0), indices, np.moveaxis(g, axis, 0))
        return total

    return Variable(x.value.take(indices, axis), [(x, to_input)])


def per_channel(x: Variable) -> Variable:
    """(C,) to (1, C, 1, 1)"""
    return reshaped(x, (1, -1, 1, 1))


# --- Windows of feature maps ----------------------------------------------------------------------


def zero_padded(x: Array, padding: int, value: float = 0.0) -> Array:
    """``x`` (N, C, H, W) with ``padding`` pixels of ``value`` on every side."""
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return np.pad(x, around, constant_values=value) if padding else x


def cropped(x: Array, padding: int) -> Array:
    """What :func:`zero_padded` made, without its padding."""
    return x[:, :, padding:-padding, padding:-padding] if padding else x


def windows(x: Array, kernel: tuple[int, int], stride: int) -> Array:
    """(N, C, h, w, H', W'): by place in the window the pixels of all windows."""
    found = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
    return found[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)


def from_windows(parts: Array, shape: Sequence[int], stride: int) -> Array:
    """Maps of ``shape`` (N, C, H, W) where ``parts`` of windows add up: what :func:`windows` does,
    transposed."""
    total = np.zeros(shape, parts.dtype)
    rows, columns, height, width = parts.shape[2:]
    for row in range(rows):
        for column in range(columns):
            within = total[
                :,
                :,
                row : row + stride * height : stride,
                column : column + stride * width : stride,
            ]
            within += parts[:, :, row, column]
    return total

"""Operations forward, in NumPy alone: their source stands in the programs that are printed.

``harness.parity.random.expected`` computes the same with the reference's operations; a test
compares the two.
"""

from __future__ import annotations

import numpy as np


def convolution(x, weight, bias, stride, padding):  # type: ignore[no-untyped-def]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    y = np.einsum("nchwij,ocij->nohw", patches[:, :, ::stride, ::stride], weight)
    return y + bias[:, None, None]


def max_pool(x, window, stride, padding):  # type: ignore[no-untyped-def]
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, around, constant_values=-np.inf)
    patches = np.lib.stride_tricks.sliding_window_view(x, (window, window), (2, 3))
    return patches[:, :, ::stride, ::stride].max((4, 5))


def average_pool(x, window, stride, padding):  # type: ignore[no-untyped-def]
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    x = np.pad(x, around, constant_values=np.nan)
    patches = np.lib.stride_tricks.sliding_window_view(x, (window, window), (2, 3))
    return np.nanmean(patches[:, :, ::stride, ::stride], axis=(4, 5))


def batch_norm(x, scale, shift):  # type: ignore[no-untyped-def]
    mean, var = (f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    return (x - mean) / np.sqrt(var + 1e-5) * scale[:, None, None] + shift[:, None, None]


def flatten(x):  # type: ignore[no-untyped-def]
    return x.reshape(len(x), -1)


def spatial_mean(x):  # type: ignore[no-untyped-def]
    return x.mean((2, 3))


def dense(x, weight, bias):  # type: ignore[no-untyped-def]
    return x @ weight.T + bias


def product(x, weight):  # type: ignore[no-untyped-def]
    return x @ weight.T


def relu(x):  # type: ignore[no-untyped-def]
    return np.maximum(x, 0)


def tanh(x):  # type: ignore[no-untyped-def]
    return np.tanh(x)


def sigmoid(x):  # type: ignore[no-untyped-def]
    return 1 / (1 + np.exp(-x))


def softplus(x):  # type: ignore[no-untyped-def]
    return np.logaddexp(0, x)


def log_softmax(x):  # type: ignore[no-untyped-def]
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def logsumexp(x):  # type: ignore[no-untyped-def]
    largest = x.max(-1)
    return largest + np.log(np.exp(x - largest[..., None]).sum(-1))


def row_sum(x):  # type: ignore[no-untyped-def]
    return x.sum(-1)


def row_mean(x):  # type: ignore[no-untyped-def]
    return x.mean(-1)


def row_max(x):  # type: ignore[no-untyped-def]
    return x.max(-1)


def cross_entropy(x):  # type: ignore[no-untyped-def]
    classes = np.arange(len(x)) % x.shape[1]
    return np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1)) - (
        x[np.arange(len(x)), classes] - x.max(-1)
    )


def binary_cross_entropy(x):  # type: ignore[no-untyped-def]
    labels = np.add.outer(np.arange(x.shape[0]), np.arange(x.shape[1])) % 2
    return (np.logaddexp(0, x) - x * labels).mean(-1)

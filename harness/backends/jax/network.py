"""What all networks here have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from numpy.typing import NDArray

from harness.models.card import ModelCard

_CARD_KIND = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Network(nnx.Module):
    """Takes images (N, H, W, C), gives logits (N, classes).

    Its variables have the card's names but for the last part, which is Flax's.
    """

    @abstractmethod
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None: ...

    @abstractmethod
    def features(self, x: Array) -> Array:
        """The last feature maps (N, h, w, K)."""

    @abstractmethod
    def classify(self, x: Array) -> Array:
        """Logits (N, classes) of feature maps (N, h, w, K)."""

    def __call__(self, x: Array) -> Array:
        return self.classify(self.features(x))

    def to_canonical(
        self, path: tuple[Any, ...], value: NDArray[np.floating]
    ) -> tuple[str, NDArray[np.floating]]:
        """From Flax's path and layout, (H, W, I, O) or (I, O), to the card's."""
        *layer, kind = path
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
        return ".".join(map(str, [*layer, _CARD_KIND[kind]])), value.transpose(axes)

    def from_canonical(
        self, name: str, value: NDArray[np.floating]
    ) -> tuple[tuple[Any, ...], NDArray[np.floating]]:
        """From the card's name and layout to Flax's; the inverse of :meth:`to_canonical`."""
        *layer, kind = name.split(".")
        kinds = {card: own for own, card in _CARD_KIND.items()}
        kinds["weight"] = "scale" if value.ndim == 1 else "kernel"
        axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
        places = (int(part) if part.isdigit() else part for part in layer)
        return (*places, kinds[kind]), value.transpose(axes)


class BatchNorm(nnx.Module):
    """Batch normalisation as the protocol has it.

    Flax's own keeps the biased variance of the batches, this one the unbiased. Its attributes are
    called as there, so that ``train()`` and ``eval()`` switch it. It computes in the precision of
    its statistics, whatever that of the feature maps.
    """

    def __init__(self, channels: int, *, dtype: jnp.dtype) -> None:
        self.scale = nnx.Param(jnp.ones(channels, dtype))
        self.bias = nnx.Param(jnp.zeros(channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(channels, dtype))
        self.var = nnx.BatchStat(jnp.ones(channels, dtype))
        self.use_running_average = False

    def __call__(self, maps: Array) -> Array:
        x = maps.astype(self.mean[...].dtype)
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            pixels = tuple(range(x.ndim - 1))
            mean, var = x.mean(axis=pixels), x.var(axis=pixels)
            count = x.size // x.shape[-1]
            self.mean[...] = 0.9 * self.mean[...] + 0.1 * mean
            self.var[...] = 0.9 * self.var[...] + 0.1 * var * (count / (count - 1))
        scale = self.scale[...] * lax.rsqrt(var + 1e-5)
        return (x * scale + (self.bias[...] - mean * scale)).astype(maps.dtype)


class PointwiseConv(nnx.Conv):
    """A 1x1 convolution as the matrix product it is: XLA's CPU convolutions are slower at it."""

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        assert isinstance(self.strides, tuple)
        rows, columns = self.strides
        return inputs[:, ::rows, ::columns] @ self.kernel[0, 0].astype(inputs.dtype)


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    dtype: jnp.dtype,
) -> nnx.Conv:
    """A square convolution without bias, which the batch normalisation after it has."""
    layer = PointwiseConv if (kernel, padding) == (1, 0) else nnx.Conv
    return layer(
        inputs,
        outputs,
        kernel_size=(kernel, kernel),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        use_bias=False,
        dtype=dtype,
        param_dtype=dtype,
        rngs=nnx.Rngs(0),  # asked for by Flax; the weights come from the protocol
    )


def dense(inputs: int, outputs: int, *, dtype: jnp.dtype) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))


def max_pool(x: Array, window: int, *, stride: int, padding: int = 0) -> Array:
    """The first largest pixel of every window, as PyTorch's; padding never wins.

    The gradient of Flax's own is XLA's select-and-scatter, ten times as slow on the CPU.
    """
    rows_and_columns = (padding, padding)
    x = jnp.pad(x, ((0, 0), rows_and_columns, rows_and_columns, (0, 0)), constant_values=-jnp.inf)
    height, width = ((side - window) // stride * stride + 1 for side in x.shape[1:3])
    pixels = (
        x[:, row : row + height : stride, column : column + width : stride]
        for row in range(window)
        for column in range(window)
    )
    return first_largest(pixels)


def first_largest(values: Iterable[Array]) -> Array:
    """Element by element; the gradient goes to the first of those that are equal."""
    return reduce(lambda best, value: jnp.where(value > best, value, best), values)

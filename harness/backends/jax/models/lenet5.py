"""LeNet-5 in Flax NNX (LeCun et al. 1998)."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from harness.models.card import ModelCard


class LeNet5(nnx.Module):
    """Takes (N, H, W, C), gives logits (N, classes)."""

    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        channels, height, width = image_shape
        rngs = nnx.Rngs(0)  # asked for by Flax; the weights come from the protocol
        self.features = (16, (height // 2 - 4) // 2, (width // 2 - 4) // 2)
        conv = partial(nnx.Conv, kernel_size=(5, 5), dtype=dtype, param_dtype=dtype, rngs=rngs)
        dense = partial(nnx.Linear, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.conv1 = conv(channels, 6, padding=((2, 2), (2, 2)))
        self.conv2 = conv(6, 16, padding="VALID")
        self.dense1 = dense(self.features[0] * self.features[1] * self.features[2], 120)
        self.dense2 = dense(120, 84)
        self.dense3 = dense(84, classes)
        self.activation = {"tanh": nnx.tanh, "relu": nnx.relu}[card.activation]
        pool = {"average": nnx.avg_pool, "max": nnx.max_pool}[card.pooling]
        self.pool = partial(pool, window_shape=(2, 2), strides=(2, 2))

    def __call__(self, x: Array) -> Array:
        x = self.convolve_and_pool(self.conv1, x)
        x = self.convolve_and_pool(self.conv2, x)
        x = x.reshape(x.shape[0], -1)
        x = self.activation(self.dense1(x))
        x = self.activation(self.dense2(x))
        return self.dense3(x)

    def convolve_and_pool(self, conv: nnx.Conv, x: Array) -> Array:
        return self.pool(self.activation(conv(x)))

    def to_canonical(self, path: tuple[str, ...], value: Array) -> tuple[str, Array]:
        """From Flax's name and layout, (H, W, I, O) or (I, O), to the card's."""
        layer, kind = path
        if kind == "bias":
            return f"{layer}.bias", value
        if layer == "dense1":  # its input was flattened as (H, W, C); the card says (C, H, W)
            channels, height, width = self.features
            value = value.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
            value = value.reshape(channels * height * width, -1)
        axes = (3, 2, 0, 1) if value.ndim == 4 else (1, 0)
        return f"{layer}.weight", value.transpose(axes)

    def from_canonical(self, name: str, value: Array) -> tuple[tuple[str, ...], Array]:
        """From the card's name and layout to Flax's; the inverse of :meth:`to_canonical`."""
        layer, kind = name.split(".")
        if kind == "bias":
            return (layer, "bias"), value
        axes = (2, 3, 1, 0) if value.ndim == 4 else (1, 0)
        value = value.transpose(axes)
        if layer == "dense1":
            channels, height, width = self.features
            value = value.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
            value = value.reshape(height * width * channels, -1)
        return (layer, "kernel"), value


class SpaceToDepthLeNet5(LeNet5):
    """The same network; each convolution and the pooling after it work on 2x2 blocks of pixels.

    XLA's CPU convolutions are slow when an operand has few channels. Gathering each 2x2 block of
    pixels into channels makes the 5x5 convolution with O outputs a 3x3 convolution with 4 O
    outputs, one for each position in the block, and the pooling a reduction over those four: the
    same sums of the same products (plus products with zeros). The technique is the stem of
    MLPerf's ResNet-50 on TPU (Ying et al. 2018, arXiv:1811.06992, section on input transforms).
    """

    def convolve_and_pool(self, conv: nnx.Conv, x: Array) -> Array:
        (top, bottom), (left, right) = conv.padding if conv.padding != "VALID" else ((0, 0), (0, 0))
        x = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        # What pooling drops from an odd side is not computed in the first place.
        height, width = ((side - 4) // 2 * 2 + 4 for side in x.shape[1:3])
        y = lax.conv_general_dilated(
            _blocks_to_channels(x[:, :height, :width]),
            _block_kernel(conv.kernel[...]),
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        outputs = conv.bias[...].shape[0]
        y = self.activation(y.reshape(*y.shape[:3], 4, outputs) + conv.bias[...])
        reduce = jnp.max if self.pool.func is nnx.max_pool else jnp.mean
        return reduce(y, axis=3)


def _blocks_to_channels(x: Array) -> Array:
    """(N, H, W, C) to (N, H/2, W/2, 4 C): channels ordered by row in the block, column, C."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4 * channels)


def _block_kernel(kernel: Array) -> Array:
    """(5, 5, I, O) to (3, 3, 4 I, 4 O): the kernel placed at each of the four block positions."""
    placed = jnp.stack(
        [
            jnp.pad(kernel, ((row, 1 - row), (column, 1 - column), (0, 0), (0, 0)))
            for row in (0, 1)
            for column in (0, 1)
        ],
        axis=3,
    )  # (6, 6, I, 4, O)
    _, _, inputs, positions, outputs = placed.shape
    placed = placed.reshape(3, 2, 3, 2, inputs, positions * outputs)
    return placed.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * inputs, positions * outputs)

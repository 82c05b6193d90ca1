"""LeNet-5 in Flax NNX (LeCun et al. 1998)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

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
        self.conv2 = conv(6, 16, padding=((0, 0), (0, 0)))
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
        logits: Array = self.dense3(x)
        return logits

    def convolve_and_pool(self, conv: nnx.Conv, x: Array) -> Array:
        pooled: Array = self.pool(self.activation(conv(x)))
        return pooled

    def to_canonical(self, path: tuple[Any, ...], value: Array) -> tuple[str, Array]:
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

"""LeNet-5 in Flax NNX (LeCun et al. 1998)."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from harness.backends.jax.network import Network
from harness.models.card import ModelCard


class LeNet5(Network):
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        channels, height, width = image_shape
        rngs = nnx.Rngs(0)  # asked for by Flax; the weights come from the protocol
        self.map_shape = (16, (height // 2 - 4) // 2, (width // 2 - 4) // 2)
        conv = partial(nnx.Conv, kernel_size=(5, 5), dtype=dtype, param_dtype=dtype, rngs=rngs)
        dense = partial(nnx.Linear, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.conv1 = conv(channels, 6, padding=((2, 2), (2, 2)))
        self.conv2 = conv(6, 16, padding=((0, 0), (0, 0)))
        self.dense1 = dense(self.map_shape[0] * self.map_shape[1] * self.map_shape[2], 120)
        self.dense2 = dense(120, 84)
        self.dense3 = dense(84, classes)
        self.activation = {"tanh": nnx.tanh, "relu": nnx.relu}[card.activation]
        pool = {"average": nnx.avg_pool, "max": nnx.max_pool}[card.pooling]
        self.pool = partial(pool, window_shape=(2, 2), strides=(2, 2))

    def features(self, x: Array) -> Array:
        x = self.convolve_and_pool(self.conv1, x)
        return self.convolve_and_pool(self.conv2, x)

    def classify(self, x: Array) -> Array:
        x = x.reshape(x.shape[0], -1)
        x = self.activation(self.dense1(x))
        x = self.activation(self.dense2(x))
        logits: Array = self.dense3(x)
        return logits

    def convolve_and_pool(self, conv: nnx.Conv, x: Array) -> Array:
        pooled: Array = self.pool(self.activation(conv(x)))
        return pooled

    def to_canonical(
        self, path: tuple[Any, ...], value: NDArray[np.floating]
    ) -> tuple[str, NDArray[np.floating]]:
        if path == ("dense1", "kernel"):  # its input was flattened as (H, W, C), the card's as
            channels, height, width = self.map_shape  # (C, H, W)
            value = value.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
            value = value.reshape(channels * height * width, -1)
        return super().to_canonical(path, value)

    def from_canonical(
        self, name: str, value: NDArray[np.floating]
    ) -> tuple[tuple[Any, ...], NDArray[np.floating]]:
        path, value = super().from_canonical(name, value)
        if path == ("dense1", "kernel"):
            channels, height, width = self.map_shape
            value = value.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
            value = value.reshape(height * width * channels, -1)
        return path, value


NETWORK = LeNet5

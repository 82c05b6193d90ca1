"""The all-convolutional net in Flax NNX."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.backends.jax.network import Network
from harness.models.card import ModelCard


class AllConv(Network):
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        rngs = nnx.Rngs(0)  # required by Flax; the weights come from the protocol
        convolution = partial(
            nnx.Conv,
            kernel_size=(3, 3),
            padding=((1, 1), (1, 1)),  # never "SAME": with a stride it pads one side alone
            dtype=dtype,
            param_dtype=dtype,
            rngs=rngs,
        )
        self.conv1 = convolution(image_shape[0], 16, strides=1)
        self.conv2 = convolution(16, 16, strides=2)
        self.conv3 = convolution(16, 32, strides=1)
        self.conv4 = convolution(32, 32, strides=2)
        self.fc = nnx.Linear(32, classes, dtype=dtype, param_dtype=dtype, rngs=rngs)

    def features(self, x: Array) -> Array:
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = nnx.relu(convolution(x))
        return x

    def classify(self, x: Array) -> Array:
        logits: Array = self.fc(x.mean(axis=(1, 2)))
        return logits


NETWORK = AllConv

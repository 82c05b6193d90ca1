"""XrayNet in Flax NNX."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.backends.jax.network import BatchNorm, Network, convolution, dense, max_pool
from harness.models.card import ModelCard


class XrayNet(Network):
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        conv = partial(convolution, kernel=3, padding=1, dtype=dtype)
        norm = partial(BatchNorm, dtype=dtype)
        self.conv1, self.bn1 = conv(image_shape[0], 8), norm(8)
        self.conv2, self.bn2 = conv(8, 16), norm(16)
        self.conv3, self.bn3 = conv(16, 32), norm(32)
        self.conv4, self.bn4 = conv(32, 48), norm(48)
        self.conv5, self.bn5 = conv(48, 64), norm(64)
        self.fc = dense(64, classes, dtype=dtype)

    def features(self, x: Array) -> Array:
        # ReLU keeps the order of values, so after the pooling it has a quarter of the work.
        x = self.stem(x)
        x = nnx.relu(max_pool(self.bn2(self.conv2(x)), 2, stride=2))
        x = nnx.relu(max_pool(self.bn3(self.conv3(x)), 2, stride=2))
        x = nnx.relu(max_pool(self.bn4(self.conv4(x)), 2, stride=2))
        return nnx.relu(self.bn5(self.conv5(x)))

    def stem(self, x: Array) -> Array:
        return nnx.relu(max_pool(self.bn1(self.conv1(x)), 2, stride=2))

    def classify(self, x: Array) -> Array:
        logits: Array = self.fc(x.mean(axis=(1, 2)))
        return logits


NETWORK = XrayNet

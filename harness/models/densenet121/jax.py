"""DenseNet-121 in Flax NNX (Huang et al. 2017)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.backends.jax.network import BatchNorm, Network, convolution, dense, max_pool
from harness.models.card import ModelCard
from harness.models.densenet121.card import BLOCKS, BOTTLENECK, GROWTH, STEM


class DenseLayer(nnx.Module):
    """What it computes is appended to what it was given."""

    def __init__(self, inputs: int, *, dtype: jnp.dtype) -> None:
        self.norm1 = BatchNorm(inputs, dtype=dtype)
        self.conv1 = convolution(inputs, BOTTLENECK, 1, dtype=dtype)
        self.norm2 = BatchNorm(BOTTLENECK, dtype=dtype)
        self.conv2 = convolution(BOTTLENECK, GROWTH, 3, padding=1, dtype=dtype)

    def __call__(self, x: Array) -> Array:
        new = self.conv1(nnx.relu(self.norm1(x)))
        new = self.conv2(nnx.relu(self.norm2(new)))
        return jnp.concatenate([x, new], axis=-1)


class Transition(nnx.Module):
    """Half the channels, half the size."""

    def __init__(self, inputs: int, *, dtype: jnp.dtype) -> None:
        self.norm = BatchNorm(inputs, dtype=dtype)
        self.conv = convolution(inputs, inputs // 2, 1, dtype=dtype)

    def __call__(self, x: Array) -> Array:
        pooled: Array = nnx.avg_pool(self.conv(nnx.relu(self.norm(x))), (2, 2), strides=(2, 2))
        return pooled


class DenseNet121(Network):
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        self.conv0 = convolution(image_shape[0], STEM, 7, stride=2, padding=3, dtype=dtype)
        self.norm0 = BatchNorm(STEM, dtype=dtype)
        self.denseblock1, channels = dense_block(STEM, BLOCKS[0], dtype=dtype)
        self.transition1 = Transition(channels, dtype=dtype)
        self.denseblock2, channels = dense_block(channels // 2, BLOCKS[1], dtype=dtype)
        self.transition2 = Transition(channels, dtype=dtype)
        self.denseblock3, channels = dense_block(channels // 2, BLOCKS[2], dtype=dtype)
        self.transition3 = Transition(channels, dtype=dtype)
        self.denseblock4, channels = dense_block(channels // 2, BLOCKS[3], dtype=dtype)
        self.norm5 = BatchNorm(channels, dtype=dtype)
        self.classifier = dense(channels, classes, dtype=dtype)

    def features(self, x: Array) -> Array:
        x = max_pool(nnx.relu(self.norm0(self.conv0(x))), 3, stride=2, padding=1)
        for layer in (
            *self.denseblock1,
            self.transition1,
            *self.denseblock2,
            self.transition2,
            *self.denseblock3,
            self.transition3,
            *self.denseblock4,
        ):
            x = layer(x)
        return nnx.relu(self.norm5(x))

    def classify(self, x: Array) -> Array:
        logits: Array = self.classifier(x.mean(axis=(1, 2)))
        return logits


def dense_block(inputs: int, layers: int, *, dtype: jnp.dtype) -> tuple[nnx.List, int]:
    """The block, and the channels it ends with."""
    channels = range(inputs, inputs + layers * GROWTH, GROWTH)
    return nnx.List([DenseLayer(c, dtype=dtype) for c in channels]), channels[-1] + GROWTH


NETWORK = DenseNet121

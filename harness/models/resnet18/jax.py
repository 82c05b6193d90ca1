"""ResNet-18 in Flax NNX (He et al. 2016); layers are called as in torchvision."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.backends.jax.network import BatchNorm, Network, convolution, dense, max_pool
from harness.models.card import ModelCard
from harness.models.resnet18.card import has_small_stem


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions and, where they change the shape, a 1x1 convolution beside them."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, dtype: jnp.dtype) -> None:
        conv = partial(convolution, dtype=dtype)
        self.conv1 = conv(inputs, outputs, 3, stride=stride, padding=1)
        self.bn1 = BatchNorm(outputs, dtype=dtype)
        self.conv2 = conv(outputs, outputs, 3, padding=1)
        self.bn2 = BatchNorm(outputs, dtype=dtype)
        self.downsample: nnx.List = nnx.List()
        if stride != 1 or inputs != outputs:
            self.downsample.append(conv(inputs, outputs, 1, stride=stride))
            self.downsample.append(BatchNorm(outputs, dtype=dtype))

    def __call__(self, x: Array) -> Array:
        shortcut = x
        for layer in self.downsample:
            shortcut = layer(shortcut)
        x = nnx.relu(self.bn1(self.conv1(x)))
        return nnx.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(Network):
    def __init__(
        self, card: ModelCard, image_shape: tuple[int, int, int], classes: int, *, dtype: jnp.dtype
    ) -> None:
        channels = image_shape[0]
        self.has_small_stem = has_small_stem(image_shape)
        self.conv1 = (
            convolution(channels, 64, 3, padding=1, dtype=dtype)
            if self.has_small_stem
            else convolution(channels, 64, 7, stride=2, padding=3, dtype=dtype)
        )
        self.bn1 = BatchNorm(64, dtype=dtype)
        block = partial(BasicBlock, dtype=dtype)
        self.layer1 = nnx.List([block(64, 64, 1), block(64, 64, 1)])
        self.layer2 = nnx.List([block(64, 128, 2), block(128, 128, 1)])
        self.layer3 = nnx.List([block(128, 256, 2), block(256, 256, 1)])
        self.layer4 = nnx.List([block(256, 512, 2), block(512, 512, 1)])
        self.fc = dense(512, classes, dtype=dtype)

    def features(self, x: Array) -> Array:
        x = nnx.relu(self.bn1(self.conv1(x)))
        if not self.has_small_stem:
            x = max_pool(x, 3, stride=2, padding=1)
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            x = block(x)
        return x

    def classify(self, x: Array) -> Array:
        logits: Array = self.fc(x.mean(axis=(1, 2)))
        return logits


NETWORK = ResNet18

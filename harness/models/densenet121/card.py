"""DenseNet-121, the network of CheXNet.

Huang, Liu, van der Maaten, Weinberger: Densely connected convolutional networks, CVPR 2017;
Rajpurkar et al.: CheXNet, arXiv:1711.05225. Names of the parameters are torchvision's, without its
``features.`` and with the place in a block, from 0, for ``denselayer`` and its number from 1.
"""

from __future__ import annotations

import re

from harness.models.blueprint import Blueprint
from harness.models.card import Layer, ModelCard, Parameter

GROWTH = 32  # channels that a layer adds
BOTTLENECK = 4 * GROWTH  # channels between its two convolutions
STEM = 64
BLOCKS = (6, 12, 24, 16)


def _describe(
    image_shape: tuple[int, int, int], classes: int
) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
    net = Blueprint("DenseNet-121", image_shape)
    net.convolution("conv0", STEM, 7, stride=2, padding=3)
    net.batch_norm("norm0")
    net.layer("conv0", "7x7 convolution, stride 2, padding 3, batch normalisation, relu")
    net.pool(3, 2, 1)
    net.layer("pool0", "3x3 max pooling, stride 2, padding 1")
    for place, layers in enumerate(BLOCKS, start=1):
        for layer in range(layers):
            _dense_layer(net, f"denseblock{place}.{layer}")
        net.layer(f"denseblock{place}", f"{layers} dense layers of {GROWTH} channels")
        if place < len(BLOCKS):
            net.batch_norm(f"transition{place}.norm")
            net.convolution(f"transition{place}.conv", net.channels // 2, 1)
            net.pool()
            net.layer(
                f"transition{place}",
                "batch normalisation, relu, 1x1 convolution, 2x2 average pooling",
            )
    net.batch_norm("norm5")
    net.average_image()
    net.layer("average", "batch normalisation, relu, global average pooling")
    net.dense("classifier", classes)
    net.layer("classifier", "dense")
    return net.done()


def _dense_layer(net: Blueprint, name: str) -> None:
    """Batch normalisation, ReLU, 1x1 convolution, and the same with 3x3; appended to its input."""
    channels, *sides = net.shape
    net.batch_norm(f"{name}.norm1")
    net.convolution(f"{name}.conv1", BOTTLENECK, 1)
    net.batch_norm(f"{name}.norm2")
    net.convolution(f"{name}.conv2", GROWTH, 3, padding=1)
    net.shape = (channels + GROWTH, *sides)


def _imported_name(name: str) -> str | None:
    """torchvision's names, and CheXNet's; it also counts batches."""
    if name.endswith("num_batches_tracked"):
        return None
    # Files older than torchvision 0.3 have dots where attributes of today have none.
    name = re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", name)
    name = re.sub(r"\bdenselayer(\d+)\b", lambda found: str(int(found[1]) - 1), name)
    return re.sub(r"^classifier\.0\.", "classifier.", name)


DENSENET121 = ModelCard(
    name="densenet121",
    title="DenseNet-121",
    reference="Huang et al., CVPR 2017; CheXNet: Rajpurkar et al., arXiv:1711.05225",
    package="harness.models.densenet121",
    order=40,
    stem="conv0",
    head="classifier",
    describe=_describe,
    imported_name=_imported_name,
)

"""A small convolutional network for chest X-rays: what a few hundred images can train."""

from __future__ import annotations

from harness.models.blueprint import Blueprint
from harness.models.card import Layer, ModelCard, Parameter

CHANNELS = (8, 16, 32, 48, 64)


def _describe(
    image_shape: tuple[int, int, int], classes: int
) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
    net = Blueprint("XrayNet", image_shape)
    for place, outputs in enumerate(CHANNELS, start=1):
        net.convolution(f"conv{place}", outputs, 3, padding=1)
        net.batch_norm(f"bn{place}")
        net.layer(f"conv{place}", "3x3 convolution, padding 1, batch normalisation, relu")
        if place < len(CHANNELS):
            net.pool()
            net.layer(f"pool{place}", "2x2 max pooling, stride 2")
    net.average_image()
    net.layer("average", "global average pooling")
    net.dense("fc", classes)
    net.layer("fc", "dense")
    return net.done()


XRAYNET = ModelCard(
    name="xraynet",
    title="XrayNet (five convolutions with batch normalisation)",
    reference="this project; batch normalisation: Ioffe & Szegedy, ICML 2015",
    package="harness.models.xraynet",
    order=20,
    head="fc",
    describe=_describe,
)

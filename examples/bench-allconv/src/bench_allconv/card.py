"""A network of convolutions alone: strides take the place of pooling.

Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for simplicity: the all convolutional net,
ICLR workshop 2015. This one is much smaller. Its last layer is a 1x1 convolution followed by the
average over the image; that is the dense layer of the averages, in which form it is written here.
"""

from __future__ import annotations

from harness.models.blueprint import Blueprint
from harness.models.card import Layer, ModelCard, Parameter

CONVOLUTIONS = ((16, 1), (16, 2), (32, 1), (32, 2))
"""(output channels, stride) of each; all are 3x3 with a padding of 1."""


def describe(
    image_shape: tuple[int, int, int], classes: int
) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
    """Parameters and layers for images (C, H, W)."""
    net = Blueprint("All-convolutional net", image_shape)
    for number, (outputs, stride) in enumerate(CONVOLUTIONS, start=1):
        net.convolution(f"conv{number}", outputs, 3, stride=stride, padding=1, bias=True)
        net.layer(f"conv{number}", f"3x3 convolution, stride {stride}, padding 1, relu")
    net.average_image()
    net.layer("average", "global average pooling")
    net.dense("fc", classes)
    net.layer("fc", "dense")
    return net.done()


ALLCONV = ModelCard(
    name="allconv",
    title="All-convolutional net (four convolutions)",
    reference="Springenberg et al., ICLR workshop 2015",
    package="bench_allconv",
    head="fc",
    describe=describe,
)

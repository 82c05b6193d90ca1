"""LeNet-5 in the modern reading: whole connections between feature maps, a linear last layer.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
Proc. IEEE 86 (11), 1998. The images are 28x28 with a padding of 2 in place of 32x32.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from harness.errors import BenchError
from harness.models.blueprint import Blueprint
from harness.models.card import Initializer, Layer, ModelCard, Parameter

KERNEL = 5
PADDING = 2  # of the first convolution; the second has none
CHANNELS = (6, 16)
FEATURES = (120, 84)
SMALLEST = 12  # pixels a side: below, the second pooling has nothing left


def _describe(
    weights: Initializer,
    activation: str,
    pooling: str,
    image_shape: tuple[int, int, int],
    classes: int,
) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
    height, width = image_shape[1:]
    if min(height, width) < SMALLEST:
        raise BenchError(
            f"LeNet-5 needs images of at least {SMALLEST}x{SMALLEST} pixels, "
            f"these are {height}x{width}: import them with a larger --size"
        )
    net = Blueprint("LeNet-5", image_shape)
    for place, (outputs, padding) in enumerate(zip(CHANNELS, (PADDING, 0), strict=True), start=1):
        name = f"conv{place}"
        net.convolution(name, outputs, KERNEL, padding=padding, weights=weights, bias=True)
        net.layer(name, f"{KERNEL}x{KERNEL} convolution, padding {padding}, {activation}")
        net.pool()
        net.layer(f"pool{place}", f"2x2 {pooling} pooling, stride 2")
    net.flatten()
    for place, outputs in enumerate(FEATURES, start=1):
        net.dense(f"dense{place}", outputs, weights=weights)
        net.layer(f"dense{place}", f"dense, {activation}")
    net.dense("dense3", classes, weights=weights)
    net.layer("dense3", "dense")
    return net.done()


def _card(
    name: str,
    title: str,
    activation: Literal["tanh", "relu"],
    pooling: Literal["average", "max"],
    weights: Initializer,
) -> ModelCard:
    return ModelCard(
        name=name,
        title=title,
        reference="LeCun et al., Proc. IEEE 86 (11), 1998",
        package="harness.models.lenet5",
        order=10,
        activation=activation,
        pooling=pooling,
        head="dense3",
        describe=partial(_describe, weights, activation, pooling),
    )


LENET5 = _card("lenet5", "LeNet-5 (tanh, average pooling)", "tanh", "average", "glorot_uniform")
LENET5_RELU = _card("lenet5-relu", "LeNet-5 (ReLU, max pooling)", "relu", "max", "he_uniform")

MODELS = (LENET5, LENET5_RELU)

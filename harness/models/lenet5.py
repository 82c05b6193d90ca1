"""LeNet-5 in the modern reading: whole connections between feature maps, a linear last layer.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
Proc. IEEE 86 (11), 1998. The images are 28x28 with a padding of 2 in place of 32x32.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from harness.errors import BenchError
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
    channels, *sides = image_shape
    if min(sides) < SMALLEST:
        raise BenchError(
            f"LeNet-5 needs images of at least {SMALLEST}x{SMALLEST} pixels, "
            f"these are {sides[0]}x{sides[1]}: import them with a larger --size"
        )
    parameters: list[Parameter] = []
    layers: list[Layer] = []

    def add(name: str, shape: tuple[int, ...], operation: str, output: tuple[int, ...]) -> None:
        parameters.append(Parameter(name=f"{name}.weight", shape=shape, initializer=weights))
        parameters.append(Parameter(name=f"{name}.bias", shape=shape[:1], initializer="zeros"))
        kernel = parameters[-2]
        positions = 1
        for side in output[1:]:
            positions *= side
        layers.append(
            Layer(
                name=name,
                operation=operation,
                output_shape=output,
                macs=kernel.size * positions,
            )
        )

    inputs = channels
    for place, (outputs, padding) in enumerate(zip(CHANNELS, (PADDING, 0), strict=True), start=1):
        sides = [side + 2 * padding - KERNEL + 1 for side in sides]
        add(
            f"conv{place}",
            (outputs, inputs, KERNEL, KERNEL),
            f"{KERNEL}x{KERNEL} convolution, padding {padding}, {activation}",
            (outputs, *sides),
        )
        sides = [side // 2 for side in sides]
        layers.append(
            Layer(
                name=f"pool{place}",
                operation=f"2x2 {pooling} pooling, stride 2",
                output_shape=(outputs, *sides),
            )
        )
        inputs = outputs
    inputs *= sides[0] * sides[1]
    for place, outputs in enumerate((*FEATURES, classes), start=1):
        last = place == len(FEATURES) + 1
        add(
            f"dense{place}",
            (outputs, inputs),
            "dense" if last else f"dense, {activation}",
            (outputs,),
        )
        inputs = outputs
    return tuple(parameters), tuple(layers)


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
        module="lenet5",
        activation=activation,
        pooling=pooling,
        describe=partial(_describe, weights, activation, pooling),
    )


LENET5 = _card("lenet5", "LeNet-5 (tanh, average pooling)", "tanh", "average", "glorot_uniform")
LENET5_RELU = _card("lenet5-relu", "LeNet-5 (ReLU, max pooling)", "relu", "max", "he_uniform")

"""A model card: what a network is, said without any framework."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Initializer = Literal["glorot_uniform", "he_uniform", "zeros", "ones"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One array of a network, in canonical layout.

    Convolution (O, I, H, W), dense (O, I), bias and everything of a batch normalisation (O,).
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    trainable: bool = True
    """False for the running statistics of a batch normalisation: no gradient reaches them."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """Inputs that one output sums over."""
        return math.prod(self.shape[1:])

    @property
    def fan_out(self) -> int:
        """Outputs that one input reaches."""
        return self.shape[0] * math.prod(self.shape[2:])


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One step of the network on one image, for the report and for counting work."""

    name: str
    operation: str
    output_shape: tuple[int, ...]
    """(C, H, W) or (features,)."""
    macs: int = 0
    """Multiply-accumulate operations of the forward pass, per image."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The network ``name``; every backend has its own hand-written twin of it."""

    name: str
    title: str
    reference: str
    package: str
    """Import path of the package that holds the card and its twins, one module a framework."""
    order: int = 100
    """Position in lists; models of equal position by name."""
    activation: Literal["tanh", "relu"] = "relu"
    pooling: Literal["average", "max"] = "max"
    stem: str = "conv1"
    """The layer that sees the image."""
    head: str
    """The layer whose outputs are the logits."""
    describe: Callable[[tuple[int, int, int], int], tuple[tuple[Parameter, ...], tuple[Layer, ...]]]
    """(image shape (C, H, W), number of classes) -> parameters and layers."""

    imported_name: Callable[[str], str | None] | None = None
    """From the name of an array in weight files of others, for ``bench weights import``, to the
    name of the parameter, or None for what is no parameter here. None: nobody else has this
    network. Prefixes of training programs (``module.``, ``model.``) are gone already."""

    @property
    def architecture(self) -> str:
        """What cards have in common that share their twins: the last part of their package."""
        return self.package.rpartition(".")[2]

    @property
    def folder(self) -> Path:
        """Where the package lies."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ValueError(f"model {self.name}: there is no package {self.package}")
        return Path(spec.origin).parent

    def parameters(self, image_shape: tuple[int, int, int], classes: int) -> tuple[Parameter, ...]:
        """In the order of the forward pass.

        Raises:
            BenchError: the network cannot take images of that shape.
        """
        return self.describe(image_shape, classes)[0]

    def layers(self, image_shape: tuple[int, int, int], classes: int) -> tuple[Layer, ...]:
        return self.describe(image_shape, classes)[1]

    def trainable_size(self, image_shape: tuple[int, int, int], classes: int) -> int:
        """How many numbers training moves: what the literature counts as parameters."""
        parameters = self.parameters(image_shape, classes)
        return sum(parameter.size for parameter in parameters if parameter.trainable)

    def forward_flops(self, image_shape: tuple[int, int, int], classes: int) -> int:
        """Floating-point operations of one forward pass on one image: 2 per multiply-accumulate."""
        return 2 * sum(layer.macs for layer in self.layers(image_shape, classes))

    def training_flops(self, image_shape: tuple[int, int, int], classes: int) -> int:
        """The same of one training step, an image: forward, and backward twice that.

        Gradients of weights and of inputs cost as much as the forward pass each; the first layer
        has no gradient of its input, because nobody learns the image.
        """
        layers = self.layers(image_shape, classes)
        return 2 * (3 * sum(layer.macs for layer in layers) - layers[0].macs)

    def training_bytes(
        self, image_shape: tuple[int, int, int], classes: int, batch_size: int, itemsize: int
    ) -> float:
        """Memory that one training step moves, an image, if nothing stays in a cache.

        Each layer's output is written and read forward, and so is its gradient backward; weights
        are read twice, their gradients written and read, weights and velocity read and written by
        the update, shared by the batch; the image comes as uint8. A framework that fuses layers
        moves less, so this is the traffic of computing layer by layer (Williams, Waterman,
        Patterson: Roofline, CACM 52 (4), 2009).
        """
        outputs = sum(math.prod(layer.output_shape) for layer in self.layers(image_shape, classes))
        weights = self.trainable_size(image_shape, classes)
        return math.prod(image_shape) + itemsize * (4 * outputs + 8 * weights / batch_size)

"""Follows the shape of one image through a network and notes what a model card needs."""

from __future__ import annotations

import math

from harness.errors import BenchError
from harness.models.card import Initializer, Layer, Parameter


class Blueprint:
    """Parameters and layers of a network, collected in the order of its forward pass.

    Operations add parameters and change ``shape``; :meth:`layer` ends a row of the report's table,
    which then has the work of everything since the row before.
    """

    def __init__(self, title: str, image_shape: tuple[int, int, int]) -> None:
        self.title = title
        self.image_shape = image_shape
        self.shape: tuple[int, ...] = image_shape
        """(C, H, W), or (features,) after :meth:`flatten`."""
        self.parameters: list[Parameter] = []
        self.layers: list[Layer] = []
        self._macs = 0

    @property
    def channels(self) -> int:
        return self.shape[0]

    def done(self) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
        return tuple(self.parameters), tuple(self.layers)

    def layer(self, name: str, operation: str) -> None:
        """End a row: everything since the last one is called ``name``."""
        row = Layer(name=name, operation=operation, output_shape=self.shape, macs=self._macs)
        self.layers.append(row)
        self._macs = 0

    def convolution(
        self,
        name: str,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        weights: Initializer = "he_uniform",
        bias: bool = False,
    ) -> None:
        shape = (outputs, self.channels, kernel, kernel)
        self._weights(name, shape, weights, bias=bias)
        self.window(outputs, kernel, stride, padding)
        self._macs += math.prod(shape) * math.prod(self.shape[1:])

    def dense(self, name: str, outputs: int, *, weights: Initializer = "glorot_uniform") -> None:
        self._weights(name, (outputs, self.channels), weights, bias=True)
        self._macs += outputs * self.channels
        self.shape = (outputs,)

    def batch_norm(self, name: str) -> None:
        """Scale, shift and the two running statistics."""
        for kind, initializer, trainable in (
            ("weight", "ones", True),
            ("bias", "zeros", True),
            ("running_mean", "zeros", False),
            ("running_var", "ones", False),
        ):
            self._add(f"{name}.{kind}", (self.channels,), initializer, trainable)  # type: ignore[arg-type]

    def window(self, outputs: int, kernel: int, stride: int, padding: int = 0) -> None:
        """What a convolution or a pooling leaves of the sides.

        Raises:
            BenchError: nothing is left.
        """
        sides = [(side + 2 * padding - kernel) // stride + 1 for side in self.shape[1:]]
        if min(sides) < 1:
            height, width = self.image_shape[1:]
            raise BenchError(
                f"{self.title} cannot take images of {height}x{width} pixels, nothing would be "
                "left of them on the way: import them with a larger --size"
            )
        self.shape = (outputs, *sides)

    def pool(self, kernel: int = 2, stride: int = 2, padding: int = 0) -> None:
        self.window(self.channels, kernel, stride, padding)

    def average_image(self) -> None:
        """Global average pooling."""
        self.shape = (self.channels,)

    def flatten(self) -> None:
        self.shape = (math.prod(self.shape),)

    def _weights(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, *, bias: bool
    ) -> None:
        self._add(f"{name}.weight", shape, initializer)
        if bias:
            self._add(f"{name}.bias", shape[:1], "zeros")

    def _add(
        self, name: str, shape: tuple[int, ...], initializer: Initializer, trainable: bool = True
    ) -> None:
        self.parameters.append(
            Parameter(name=name, shape=shape, initializer=initializer, trainable=trainable)
        )

"""The layers of a network by the names of its model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, util

from harness.errors import BenchError
from harness.models.card import ModelCard
from harness.paths import page
from harness.reference import operations
from harness.reference.tape import Array, Variable

Operation = Callable[..., Variable]
Replace = Callable[[str, str, Operation], Operation]
"""(kind of operation, its layer, the function) -> the function that is called in its place."""


@dataclass
class Layers:
    """One forward pass: every method computes one layer with the parameters of that name.

    An operation without parameters belongs to the layer before it that has some; the second of
    its kind there is called ``NAME (2)``.
    """

    card: ModelCard
    parameters: Mapping[str, Variable]
    running: Mapping[str, Array]
    """Running statistics of batch normalisation, changed in place in training."""
    training: bool
    replace: Replace | None = None
    sites: dict[str, list[str]] = field(default_factory=dict)
    """By kind of operation the layers at which it was called."""
    last: str = "the image"

    def convolution(self, name: str, x: Variable, *, stride: int = 1, padding: int = 0) -> Variable:
        function = self.at("convolution", operations.convolution, name)
        weight, bias = self.parameters[f"{name}.weight"], self.parameters.get(f"{name}.bias")
        return function(x, weight, bias, stride=stride, padding=padding)

    def dense(self, name: str, x: Variable) -> Variable:
        function = self.at("dense", operations.dense, name)
        return function(x, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def batch_norm(self, name: str, x: Variable) -> Variable:
        function = self.at("normalisation", operations.batch_norm, name)
        return function(
            x,
            self.parameters[f"{name}.weight"],
            self.parameters[f"{name}.bias"],
            self.running[f"{name}.running_mean"],
            self.running[f"{name}.running_var"],
            training=self.training,
        )

    def activation(self, x: Variable) -> Variable:
        """The card's."""
        function = {"tanh": operations.tanh, "relu": operations.relu}[self.card.activation]
        return self.at("activation", function)(x)

    def pool(
        self, x: Variable, window: int = 2, *, stride: int = 2, padding: int = 0, kind: str = ""
    ) -> Variable:
        """Average or max pooling: ``kind``, or the card's."""
        functions: Mapping[str, Operation] = {
            "average": operations.average_pool,
            "max": operations.max_pool,
        }
        function = self.at("pooling", functions[kind or self.card.pooling])
        return function(x, window, stride=stride, padding=padding)

    def average_image(self, x: Variable) -> Variable:
        """Global average pooling."""
        return self.at("average", operations.average)(x, (2, 3))

    def flatten(self, x: Variable) -> Variable:
        return self.at("flatten", operations.flatten)(x)

    def add(self, x: Variable, shortcut: Variable) -> Variable:
        return self.at("join", lambda parts: parts[0] + parts[1])([x, shortcut])

    def concatenate(self, x: Variable, new: Variable) -> Variable:
        return self.at("join", operations.concatenate)([x, new])

    def at(self, kind: str, function: Operation, name: str | None = None) -> Operation:
        """``function``, or what takes its place at this layer."""
        self.last = site = name or self.last
        sites: list[str] = self.sites.setdefault(kind, [])
        if before := sum(one == site or one.startswith(f"{site} (") for one in sites):
            site = f"{site} ({before + 1})"
        sites.append(site)
        return function if self.replace is None else self.replace(kind, site, function)


@dataclass(frozen=True)
class Network:
    """A network in two parts, each of a forward pass and its input."""

    features: Callable[[Layers, Variable], Variable]
    """Images (N, C, H, W) to the last feature maps (N, K, h, w)."""
    classify: Callable[[Layers, Variable], Variable]
    """Feature maps to logits (N, classes)."""

    def __call__(self, layers: Layers, x: Variable) -> Variable:
        return self.classify(layers, self.features(layers, x))


def find_network(card: ModelCard) -> Network:
    """``NETWORK`` of the module ``reference`` in the package of a model.

    Raises:
        BenchError: the package has no such module.
    """
    module = f"{card.package}.reference"
    if util.find_spec(module) is None:
        raise BenchError(
            f"the model '{card.name}' has no NumPy reference, with which frameworks are compared: "
            f"add {module} ({page('extending.md')})"
        )
    network: Network = import_module(module).NETWORK
    return network

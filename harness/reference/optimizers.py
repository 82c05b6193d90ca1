"""Update rules: the formulas of ``harness.protocol``, written out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.config import Optimizer
from harness.reference.tape import Array


class UpdateRule:
    """SGD with momentum, Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    def __init__(self, settings: Optimizer) -> None:
        self.settings = settings
        self.steps = 0
        self.first: dict[str, Array] = {}
        """Of SGD the velocity, of the others the first moment; zero before the first step."""
        self.second: dict[str, Array] = {}

    def step(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], rate: float
    ) -> None:
        """Change ``parameters`` in place."""
        self.steps += 1
        for name, gradient in gradients.items():
            p, decay = parameters[name], self.settings.weight_decay
            if self.settings.name == "adamw":
                p -= rate * decay * p
            else:
                gradient = gradient + decay * p
            p -= self.change(name, gradient, rate)

    def change(self, name: str, g: Array, rate: float) -> Array:
        """What is subtracted from the parameter ``name``, whose gradient is ``g``."""
        if self.settings.name == "sgd":
            return rate * self.velocity(name, g)
        first, second = self.moments(name, g)
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        first = first / (1 - beta1**self.steps)
        second = second / (1 - beta2**self.steps)
        return rate * first / (np.sqrt(second) + self.settings.epsilon)

    def velocity(self, name: str, g: Array) -> Array:
        self.first[name] = self.settings.momentum * self.first.get(name, 0 * g) + g
        return self.first[name]

    def moments(self, name: str, g: Array) -> tuple[Array, Array]:
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        self.first[name] = beta1 * self.first.get(name, 0 * g) + (1 - beta1) * g
        self.second[name] = beta2 * self.second.get(name, 0 * g) + (1 - beta2) * g * g
        return self.first[name], self.second[name]

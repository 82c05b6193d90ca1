"""Faults of the update rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.config import Optimizer
from harness.protocol.weights import Weights
from harness.reference.faults.catalogue import Fault
from harness.reference.optimizers import UpdateRule
from harness.reference.tape import Array

SETTINGS: Mapping[str, Callable[[Optimizer], dict[str, Any]]] = {
    "no momentum": lambda rule: {"momentum": 0.0},
    "momentum 0.5": lambda rule: {"momentum": 0.5},
    "momentum 0.99 in the update": lambda rule: {"momentum": 0.99},
    "decay missing": lambda rule: {"weight_decay": 0.0},
    "decay doubled": lambda rule: {"weight_decay": 2 * rule.weight_decay},
    "decay halved": lambda rule: {"weight_decay": rule.weight_decay / 2},
    "decay coupled": lambda rule: {"name": "adam" if rule.name == "adamw" else rule.name},
    "epsilon 1e-7": lambda rule: {"epsilon": 1e-7},
    "epsilon 1e-6 in the update": lambda rule: {"epsilon": 1e-6},
    "no epsilon": lambda rule: {"epsilon": 1e-300},
    "betas swapped": lambda rule: {"beta1": rule.beta2, "beta2": rule.beta1},
    "beta2 0.99": lambda rule: {"beta2": 0.99},
}
"""Faults that are the right rule with other settings."""

FORMULAS = frozenset(
    {
        "rate in the velocity", "dampened", "dampened later", "nesterov", "velocity kept",
        "decay not on vectors", "decay decoupled", "decay without rate",
        "epsilon inside the root", "epsilon before correction", "no bias correction",
        "no correction of the first moment", "no correction of the second moment",
        "decay not in the second moment",
        "steps counted from 0", "gradients never zeroed", "gradients clipped in training",
        "not trained", "upwards",
    }
)  # fmt: skip
"""Faults that are another rule."""


class FaultyRule(UpdateRule):
    """An update rule with ``fault`` in it; one that is about something else changes nothing."""

    def __init__(self, settings: Optimizer, fault: Fault) -> None:
        if change := SETTINGS.get(fault.kind):
            settings = settings.model_copy(update=change(settings))
        super().__init__(settings)
        self.kind, self.layers = fault.kind, fault.layers
        self.summed: Weights = {}
        self.gradients: Mapping[str, Array] = {}
        """Of this step, without weight decay."""
        self.plain: Weights = {}
        """Their second moment."""

    def step(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], rate: float
    ) -> None:
        self.gradients = gradients
        if self.kind == "gradients never zeroed":
            gradients = {n: g + self.summed.get(n, 0) for n, g in gradients.items()}
            self.summed = dict(gradients)
        if self.kind == "gradients clipped in training":
            norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
            gradients = {n: g / max(1.0, norm) for n, g in gradients.items()}
        if self.kind not in ("not trained", "upwards", "decay not on vectors", "decay decoupled",
                             "decay without rate"):  # fmt: skip
            super().step(parameters, gradients, rate)
            return
        self.steps += 1
        for name, gradient in gradients.items():
            if not (self.kind == "not trained" and name in self.layers):
                self.update(name, parameters[name], gradient, rate)

    def update(self, name: str, p: Array, gradient: Array, rate: float) -> None:
        """Of one parameter, in place."""
        decay = self.settings.weight_decay
        if self.kind == "decay not on vectors" and p.ndim == 1:
            decay = 0.0
        beside = self.settings.name == "adamw" or self.kind in (
            "decay decoupled", "decay without rate",
        )  # fmt: skip
        change = self.change(name, gradient if beside else gradient + decay * p, rate)
        if beside:
            change = change + (1 if self.kind == "decay without rate" else rate) * decay * p
        p += change if self.kind == "upwards" else -change

    def change(self, name: str, g: Array, rate: float) -> Array:
        if self.settings.name == "sgd":
            return self.change_of_sgd(name, g, rate)
        return self.change_of_adam(name, g, rate)

    def change_of_sgd(self, name: str, g: Array, rate: float) -> Array:
        m = self.settings.momentum
        if self.kind == "dampened" or (self.kind == "dampened later" and name in self.first):
            g = (1 - m) * g
        if self.kind == "rate in the velocity":
            return self.velocity(name, rate * g)
        v = self.velocity(name, g)
        return rate * (g + m * v if self.kind == "nesterov" else v)

    def change_of_adam(self, name: str, g: Array, rate: float) -> Array:
        first, second = self.moments(name, g)
        if self.kind == "decay not in the second moment":
            beta2, plain = self.settings.beta2, self.gradients[name]
            second = self.plain.get(name, 0 * g) * beta2 + (1 - beta2) * plain * plain
            self.plain[name] = second
        epsilon = self.settings.epsilon
        steps = self.steps + (self.kind == "steps counted from 0")
        neither = self.kind == "no bias correction"
        of_first = 1 - self.settings.beta1**steps
        if neither or self.kind.endswith("of the first moment"):
            of_first = 1.0
        of_second = 1 - self.settings.beta2**steps
        if neither or self.kind.endswith("of the second moment"):
            of_second = 1.0
        if self.kind == "epsilon inside the root":
            divisor = np.sqrt(second / of_second + epsilon)
        elif self.kind == "epsilon before correction":
            divisor = (np.sqrt(second) + epsilon) / math.sqrt(of_second)
        else:
            divisor = np.sqrt(second / of_second) + epsilon
        return np.asarray(rate * (first / of_first) / divisor)

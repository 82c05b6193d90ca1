"""The update rules of ``harness.protocol`` as Keras optimizers.

Keras's own rules differ: its SGD multiplies the gradient by the learning rate before it enters the
velocity, and its Adam adds epsilon before the bias correction of the denominator.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, Variable, ops

from harness.config import Optimizer


class SGD(keras.optimizers.Optimizer):
    """v <- momentum v + (g + decay p); p <- p - rate v."""

    def __init__(self, settings: Optimizer) -> None:
        super().__init__(settings.learning_rate)
        self.settings = settings

    def build(self, variables: list[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: KerasTensor, variable: Variable, rate: KerasTensor) -> None:
        velocity = self.velocities[self._get_variable_index(variable)]
        gradient = gradient + self.settings.weight_decay * variable
        self.assign(velocity, self.settings.momentum * velocity + gradient)
        self.assign_sub(variable, rate * velocity)


class Adam(keras.optimizers.Optimizer):
    """Adam with epsilon outside the square root, after the bias correction.

    Weight decay is part of the gradient; that of ``adamw`` is Keras's own, decoupled.
    """

    def __init__(self, settings: Optimizer) -> None:
        decoupled = settings.name == "adamw"
        super().__init__(
            settings.learning_rate, weight_decay=settings.weight_decay if decoupled else None
        )
        self.settings = settings
        self.coupled_decay = 0.0 if decoupled else settings.weight_decay

    def build(self, variables: list[Variable]) -> None:
        if not self.built:
            super().build(variables)
            self.means, self.squares = self.add_optimizer_variables(variables, ("mean", "square"))

    def update_step(self, gradient: KerasTensor, variable: Variable, rate: KerasTensor) -> None:
        index = self._get_variable_index(variable)
        mean, square = self.means[index], self.squares[index]
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        step = ops.cast(self.iterations + 1, variable.dtype)
        gradient = gradient + self.coupled_decay * variable
        self.assign(mean, beta1 * mean + (1 - beta1) * gradient)
        self.assign(square, beta2 * square + (1 - beta2) * ops.square(gradient))
        corrected_mean = mean / (1 - ops.power(beta1, step))
        corrected_square = square / (1 - ops.power(beta2, step))
        update = corrected_mean / (ops.sqrt(corrected_square) + self.settings.epsilon)
        self.assign_sub(variable, rate * update)


def make_optimizer(settings: Optimizer) -> keras.optimizers.Optimizer:
    return SGD(settings) if settings.name == "sgd" else Adam(settings)

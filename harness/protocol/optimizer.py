"""What an update rule keeps from step to step, in the form in which it crosses between processes.

The same for every framework, as weights are: SGD keeps the velocity v, Adam and AdamW the moments
of the gradient (uncorrected) and the number of updates; see ``harness.protocol`` for the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.protocol.weights import Weights

SLOTS = {
    "sgd": ("velocity",),
    "adam": ("first_moment", "second_moment"),
    "adamw": ("first_moment", "second_moment"),
}
"""Names of the arrays that a rule keeps for every trainable parameter, by the rule's name."""


@dataclass(frozen=True)
class OptimizerState:
    """The state of an update rule after some steps; zeros before the first."""

    slots: dict[str, Weights]
    """By the names in ``SLOTS``: one array for each trainable parameter, in canonical layout and
    the precision of the training."""
    steps: int = 0
    """Updates so far, where the rule counts them (Adam and AdamW); otherwise 0."""

    def equals(self, other: OptimizerState) -> bool:
        """Whether they agree to the last bit."""
        return (
            self.steps == other.steps
            and self.slots.keys() == other.slots.keys()
            and all(same_arrays(held, other.slots[name]) for name, held in self.slots.items())
        )


def same_arrays(one: Weights, other: Weights) -> bool:
    """Whether names, precision and every bit agree."""
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and np.array_equal(array, other[name], equal_nan=True)
        for name, array in one.items()
    )

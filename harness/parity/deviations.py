"""How far a framework deviates from the reference, array by array.

A deviation is the largest difference in an array relative to the largest magnitude in the
reference's: a number that happens to be near zero has no relative precision of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from harness.parity.trace import FORWARD, Stages, Trace
from harness.protocol.weights import Weights

ONCE = (*FORWARD, "predictions", "inference")
"""Stages that are computed once, from the given weights."""
_STEPS = {f"step {steps}": 1e-8 for steps in (1, 2, 3, 10)}
TOLERANCE: Mapping[str, Mapping[str, float]] = {
    "float64": {
        **dict.fromkeys(("repeated", *ONCE), 1e-9),
        **_STEPS,
        "losses": 1e-8,
        "augmentation": 1e-8,
    },
    "float32": {
        **dict.fromkeys(ONCE, 1e-4),
        "repeated": 1e-2,
        "gradients": 1e-2,
        "step 1": 1e-3,
        "augmentation": 1e-3,
    },
}
"""By precision and stage: see :func:`tolerances`."""


class Deviation(NamedTuple):
    """How far one array of a framework deviates from the reference's."""

    stage: str
    """As :class:`harness.parity.trace.ProofPlan` calls them, or ``repeated``."""
    name: str
    """Of the parameter, empty for logits and losses."""
    value: float
    """Relative; infinity where one of the two is not a number."""
    position: tuple[int, ...]
    """Where in the array, in canonical layout."""

    def __str__(self) -> str:
        return f"{self.stage} {self.where}".rstrip()

    @property
    def where(self) -> str:
        """Parameter and position."""
        return self.name + (f"[{', '.join(map(str, self.position))}]" if self.position else "")


DRIFT_MARGIN = 32
"""How many times farther than rounding of the weights alone a framework may lead training."""
MOST_DRIFT = 1e-2
"""A stage to which rounding leads farther says nothing of a framework: it has no tolerance."""


def tolerances(precision: str, drift: Mapping[str, float]) -> dict[str, float]:
    """By stage, where ``drift`` is that of the reference.

    What is computed once has a fixed tolerance. Training amplifies rounding, and how fast depends
    on the network: its stages have the tolerance of :data:`TOLERANCE`, if any, or ``DRIFT_MARGIN``
    times their drift, whichever is larger.
    """
    fixed = TOLERANCE[precision]
    bounds = {"repeated": fixed["repeated"]}
    for stage, distance in drift.items():
        least = fixed.get(stage, fixed["augmentation"])
        if stage in ONCE:
            bounds[stage] = fixed[stage]
        elif DRIFT_MARGIN * distance <= MOST_DRIFT:
            bounds[stage] = max(least, DRIFT_MARGIN * distance)
    return bounds


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One framework compared with the reference."""

    framework: str
    model: str
    precision: str
    deviations: tuple[Deviation, ...]
    """Of every array."""
    tolerances: Mapping[str, float]
    """By stage; what has none is shown and not evaluated."""

    def maximum(self, stage: str) -> Deviation:
        return max((d for d in self.deviations if d.stage == stage), key=lambda d: d.value)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(deviation.stage for deviation in self.deviations))

    @property
    def beyond(self) -> tuple[Deviation, ...]:
        """The maximum of every stage that is beyond its tolerance, in the order of computation."""
        bounds = self.tolerances
        found = (self.maximum(stage) for stage in self.stages if stage in bounds)
        return tuple(deviation for deviation in found if deviation.value > bounds[deviation.stage])


def evaluate(
    framework: str, model: str, precision: str, found: Trace, reference: Trace
) -> Comparison:
    """``found`` compared with ``reference``."""
    return Comparison(
        framework=framework,
        model=model,
        precision=precision,
        tolerances=tolerances(precision, reference.drift),
        deviations=(
            *([Deviation("repeated", "", found.repeated, ())] if found.repeated else []),
            *compare(found.stages, reference.stages),
        ),
    )


def compare(found: Stages, reference: Stages) -> tuple[Deviation, ...]:
    """The deviation of every array, in the order in which they are computed."""
    return tuple(
        deviation
        for stage, arrays in reference.items()
        for deviation in by_name(stage, found[stage], arrays)
    )


def by_name(stage: str, found: Weights, reference: Weights) -> list[Deviation]:
    """Of every array; one that is on one side only deviates infinitely."""
    shared = [name for name in reference if name in found]
    return [
        *(deviation(stage, name, found[name], reference[name]) for name in shared),
        *(Deviation(stage, name, np.inf, ()) for name in sorted(found.keys() ^ reference.keys())),
    ]


def deviation(stage: str, name: str, found: ArrayLike, reference: ArrayLike) -> Deviation:
    """The largest difference of two arrays relative to the largest magnitude of ``reference``."""
    one, other = np.asarray(found, np.float64), np.asarray(reference, np.float64)
    if one.shape != other.shape:
        return Deviation(stage, name, np.inf, ())
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        apart = np.abs(one - other)
    apart = np.where(np.isnan(apart), np.inf, apart)
    position = tuple(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    largest, scale = float(apart.max(initial=0)), float(np.abs(other).max(initial=0))
    if largest == 0:
        return Deviation(stage, name, 0.0, position)
    # Of an array that is all zero nothing is relative: what was found instead counts as it is.
    return Deviation(stage, name, largest / scale if scale > 0 else largest, position)

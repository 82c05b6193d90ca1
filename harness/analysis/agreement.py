"""How far the loss curves of the variants agree over the first steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.run import Workload
from harness.results.folder import CellArrays

FIRST_STEPS = 100
"""How many steps of two loss curves are compared: later ones differ by amplified rounding alone."""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Relative, by precision: how close losses must stay over the first steps."""


@dataclass(frozen=True)
class LossAgreement:
    """How far the first losses of one cell are from those of the reference, same seed."""

    framework: str
    seed: int
    first_loss: float
    steps: int
    """How many steps were compared."""
    first_difference: float
    """Relative, of the first step; 0 for the reference itself."""
    largest_difference: float
    """Relative, over ``steps`` steps; NaN when a loss is not a number."""


def loss_agreements(workload: Workload) -> list[LossAgreement]:
    """Loss curves of every cell against the reference's; none where losses were not kept."""
    reference = workload.reference
    if reference is None:
        return []
    found = []
    for seed in workload.seeds:
        base = reference.trained.get(seed)
        if base is None or base.arrays is None:
            continue
        for outcome in workload.comparable:
            cell = outcome.trained.get(seed)
            if cell is not None and cell.arrays is not None:
                found.append(agreement(outcome.framework, seed, cell.arrays, base.arrays))
    return found


def agreement(framework: str, seed: int, own: CellArrays, base: CellArrays) -> LossAgreement:
    """Losses of ``own`` against those of ``base``, trained from the same seed."""
    steps = min(FIRST_STEPS, own.step_losses.size, base.step_losses.size)
    losses, expected = own.step_losses[:steps], base.step_losses[:steps]
    # Relative to the larger of the two, so that a loss of 0 in the reference gives 1, not infinity.
    scale = np.maximum(np.abs(losses), np.abs(expected))
    with np.errstate(invalid="ignore"):
        difference = np.abs(losses - expected) / np.where(scale == 0, 1, scale)
    return LossAgreement(
        framework=framework,
        seed=seed,
        first_loss=float(losses[0]) if steps else math.nan,
        steps=steps,
        first_difference=float(difference[0]) if steps else math.nan,
        largest_difference=float(np.max(difference)) if steps else math.nan,
    )

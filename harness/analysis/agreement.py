"""How far the loss curves of the variants agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.run import Run, Workload
from harness.parity.certificate import read_certificate
from harness.parity.rounding import LossDrift, relative_difference
from harness.results.folder import CellArrays

FIRST_STEPS = 100
"""How many steps are compared where nobody has measured how far rounding may lead later ones."""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Relative, by precision: how close losses must stay over the first steps."""
DRIFT_FACTOR = 10.0
"""Losses may differ by so many times what rounding makes of one training: two frameworks round
differently at every step, and one training shows the drift of that one alone. Measured for variants
that float64 proves equal, every step of every seed: at most 3.8 with LeNet-5 (MNIST, digits), 1.3
and 1.6 with batch normalisation and AdamW (PneumoniaMNIST, NIH's X-rays at 64x64); for one whose
gradients differ, 11 to 32."""


@dataclass(frozen=True)
class LossAgreement:
    """How far the losses of one cell are from those of the reference, same seed."""

    framework: str
    seed: int
    first_loss: float
    steps: int
    """How many steps were compared."""
    first_difference: float
    """Relative, of the first step; 0 for the reference itself."""
    largest_difference: float
    """Relative, over ``steps`` steps; NaN when a loss is not a number."""
    apart: tuple[int, float, float] | None = None
    """The first step, counted from 1, that differs by more than is expected, by how much, and what
    was expected."""


def loss_agreements(run: Run, workload: Workload, drift: LossDrift | None) -> list[LossAgreement]:
    """Loss curves of every cell against the reference's; none where losses were not kept.

    ``drift`` is :func:`loss_drift` of the same.
    """
    reference = workload.reference
    if reference is None:
        return []
    tolerance = TOLERANCE[run.manifest.experiment.training.precision]
    found = []
    for seed in workload.seeds:
        base = reference.trained.get(seed)
        if base is None or base.arrays is None:
            continue
        for outcome in workload.comparable:
            cell = outcome.trained.get(seed)
            if cell is not None and cell.arrays is not None:
                found.append(
                    agreement(outcome.framework, seed, cell.arrays, base.arrays, tolerance, drift)
                )
    return found


def loss_drift(run: Run, workload: Workload) -> LossDrift | None:
    """How far rounding may lead the losses, as the certificate of parity says; None without one.

    Raises:
        BenchError: the certificate is damaged.
    """
    certificate = read_certificate(run.folder.path)
    for section in certificate.sections if certificate else ():
        if (section.model, section.dataset) == (workload.model, workload.dataset):
            return section.drift
    return None


def agreement(
    framework: str,
    seed: int,
    own: CellArrays,
    base: CellArrays,
    tolerance: float,
    drift: LossDrift | None = None,
) -> LossAgreement:
    """Losses of ``own`` against those of ``base``, trained from the same seed."""
    steps = min(drift.steps if drift else FIRST_STEPS, own.step_losses.size, base.step_losses.size)
    losses = own.step_losses[:steps]
    difference = relative_difference(losses, base.step_losses[:steps])
    expected = np.full(steps, tolerance)
    if drift is not None:
        expected = np.maximum(tolerance, DRIFT_FACTOR * drift.expected(steps))
    beyond = np.flatnonzero(difference > expected)
    return LossAgreement(
        framework=framework,
        seed=seed,
        first_loss=float(losses[0]) if steps else math.nan,
        steps=steps,
        first_difference=float(difference[0]) if steps else math.nan,
        largest_difference=float(np.max(difference)) if steps else math.nan,
        apart=None
        if not beyond.size
        else (int(beyond[0]) + 1, float(difference[beyond[0]]), float(expected[beyond[0]])),
    )

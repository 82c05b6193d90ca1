"""Hardware utilisation: what share of the machine's peak a training reaches, memory and energy."""

from __future__ import annotations

import numpy as np

from harness.analysis.run import Outcome, Run, Workload
from harness.analysis.speed import speed_estimate
from harness.config import Training
from harness.stats.statistics import Estimate

ITEMSIZE = {"float32": 4, "float64": 8}
"""Bytes of a number, by precision."""


def measured(run: Run, workload: Workload) -> bool:
    """Whether the peak is known of what trained: of a GPU it is not measured, nor was it of any
    machine in earlier versions."""
    known = run.peak_gflops is not None and run.manifest.experiment.device == "cpu"
    return known and workload.card is not None and bool(workload.finished)


def peak_gflops(run: Run) -> float:
    """That of a run that :func:`measured` the machine."""
    assert run.peak_gflops is not None
    return run.peak_gflops


def work(workload: Workload) -> int:
    """Floating-point operations of training on one image."""
    assert workload.card is not None
    return workload.card.training_flops(workload.entry.image_shape, len(workload.entry.classes))


def intensity(workload: Workload, training: Training) -> float:
    """Operations for each byte of memory moved, layer by layer."""
    assert workload.card is not None
    moved = workload.card.training_bytes(
        workload.entry.image_shape,
        len(workload.entry.classes),
        training.batch_size,
        ITEMSIZE[training.precision],
    )
    return work(workload) / moved


def gflops(workload: Workload, outcome: Outcome) -> Estimate:
    """1e9 operations of the card a second: what a framework computes besides does not count."""
    return scaled(outcome.speed, work(workload) / 1e9)


def joules_per_image(outcome: Outcome) -> Estimate | None:
    """Of the processor packages, other programs' share included; None where not readable."""
    spent = [
        np.log(
            [
                each.conditions.energy_j / each.images
                for each in rounds
                if each.conditions is not None and each.conditions.energy_j
            ]
        )
        for cell in outcome.trained.values()
        for rounds in cell.starts.values()
    ]
    known = [start for start in spent if len(start)]
    return speed_estimate(known) if known else None


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """``estimate`` in another unit."""
    return Estimate(*(factor * value for value in estimate))

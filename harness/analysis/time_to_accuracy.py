"""Time to accuracy, as MLPerf counts it: from the first touch of data to a validation score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from harness.analysis.run import Outcome, Run, Trained, Workload


@dataclass(frozen=True)
class Target:
    """A validation score."""

    value: float
    chosen: bool
    """By the user; otherwise it is the best that every training reached."""
    auroc: bool


@dataclass(frozen=True)
class Reached:
    """When the trainings of one variant reached the target."""

    outcome: Outcome
    seeds: int
    """How many trained."""
    seconds: tuple[float, ...]
    """Of the seeds that reached it."""
    epochs: tuple[int, ...]
    startup_s: tuple[float, ...]
    """Start-up cost within these seconds."""


def target_of(run: Run, workload: Workload) -> Target | None:
    """The score that the time to accuracy refers to; None where nothing is trained."""
    cells = [cell for outcome in workload.finished for cell in outcome.trained.values()]
    if not cells:
        return None
    auroc = uses_auroc(workload)
    asked = run.manifest.experiment.target
    if asked is not None:
        return Target(asked, True, auroc)
    reached = min(float(np.nanmax(scores(cell, auroc))) for cell in cells)
    if math.isnan(reached):
        return None
    # Rounded down, so that all still reach it; a tenth of a percent is what a table shows.
    return Target(math.floor(reached * 1000 + 1e-9) / 1000, False, auroc)


def uses_auroc(workload: Workload) -> bool:
    """Whether quality is AUROC: every epoch has one."""
    epochs = [e for o in workload.finished for cell in o.trained.values() for e in cell.epochs]
    return bool(workload.labels) and all(epoch.val_auroc is not None for epoch in epochs)


def scores(cell: Trained, auroc: bool) -> list[float]:
    """Validation scores, epoch by epoch."""
    return [
        e.val_auroc if auroc and e.val_auroc is not None else e.val_accuracy for e in cell.epochs
    ]


def clock(cell: Trained) -> list[float]:
    """Seconds from the first touch of data to the end of each epoch's evaluation.

    Data are first touched when the model is built. Compilation counts; starting a process and
    importing a framework do not.
    """
    seconds = (epoch.seconds + epoch.evaluate_s for epoch in cell.epochs)
    return list(accumulate(seconds, initial=_startup(cell)))[1:]


def time_to(cell: Trained, target: Target) -> tuple[float, int] | None:
    """Seconds and epochs until the score is reached for the first time; None: never."""
    ends = zip(clock(cell), scores(cell, target.auroc), strict=True)
    for epoch, (seconds, score) in enumerate(ends, start=1):
        if score >= target.value:
            return seconds, epoch
    return None


def reached(workload: Workload, target: Target) -> list[Reached]:
    """One entry a variant that trained."""
    found = []
    for outcome in workload.finished:
        cells = list(outcome.trained.values())
        times = [(cell, at) for cell in cells if (at := time_to(cell, target)) is not None]
        found.append(
            Reached(
                outcome,
                len(cells),
                tuple(seconds for _, (seconds, _) in times),
                tuple(epoch for _, (_, epoch) in times),
                tuple(_startup(cell) for cell, _ in times),
            )
        )
    return found


def _startup(cell: Trained) -> float:
    return cell.phases.build_s + cell.phases.first_step_s + cell.phases.first_predict_s

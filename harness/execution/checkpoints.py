"""Checkpoints of the cells of a group: saved after the same epochs, and resumed from the same."""

from __future__ import annotations

from collections.abc import Sequence

from harness.execution.cell import CellRun
from harness.plan import Cell, Group
from harness.results.folder import RunFolder


def resume_after(folder: RunFolder, group: Group) -> dict[Cell, int]:
    """The epoch from whose checkpoint each cell of ``group`` continues; 0: from its beginning.

    The same epoch for all that have checkpoints, so that they stay interleaved. Where there is no
    such epoch (one of them failed long before the others), each continues from its own last; those
    ahead then wait for the others. A cell that has a result continues nothing.
    """
    saved: dict[Cell, set[int]] = {}
    for cell in group:
        result = folder.read_result(cell)
        done = result is not None and result.status == "ok"
        saved[cell] = set() if done else set(folder.checkpoints(cell))
    with_checkpoints = [epochs for epochs in saved.values() if epochs]
    common = set.intersection(*with_checkpoints) if with_checkpoints else set()
    return {cell: max(common & epochs or epochs, default=0) for cell, epochs in saved.items()}


def save_all(runs: Sequence[CellRun]) -> None:
    """Save a checkpoint of every cell that trains.

    The earlier ones stay until all have saved: a run that is killed meanwhile still has an epoch
    after which it has checkpoints of all, unless these are the first.
    """
    for run in runs:
        run.attempt(run.save_checkpoint)
    for run in runs:
        run.attempt(run.remove_earlier_checkpoints)

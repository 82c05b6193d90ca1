"""Who hears what happens while a run goes on."""

from __future__ import annotations

from typing import Protocol

from harness.plan import Cell
from harness.results.records import CellResult, Epoch, Phases


class Observer(Protocol):
    """Hears what happens while a run goes on."""

    def phase_started(self, cell: Cell, phase: str) -> None: ...
    def cell_started(self, cell: Cell, phases: Phases) -> None:
        """Its framework has taken its first step: what that cost is known."""

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None: ...
    def work_ended(self, cell: Cell, kind: str) -> None:
        """A unit of ``harness.execution.extras.work_of`` has ended; of training, an epoch does."""

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None: ...


class SilentObserver:
    def phase_started(self, cell: Cell, phase: str) -> None: ...
    def cell_started(self, cell: Cell, phases: Phases) -> None: ...
    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None: ...
    def work_ended(self, cell: Cell, kind: str) -> None: ...
    def cell_ended(self, result: CellResult, *, resumed: bool) -> None: ...

"""What a person sees while a run goes on: a live display, or lines in a log."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.console import terminal
from harness.execution.runner import Comparison, run
from harness.plan import Cell
from harness.results.records import CellResult, Epoch, Score
from harness.stats.metrics import mean_auroc


def summary(result: CellResult) -> str:
    """One line on a finished cell."""
    if result.status != "ok" or result.test is None or result.phases is None:
        return f"{result.cell}: {result.outcome.upper()}, {result.error}"
    rates = sorted(result.images_per_second)
    lost = "".join(
        f"; {name} FAILED, {extra.message}"
        for name, extra in result.extras.items()
        if extra.state == "failed"
    )
    return (
        f"{result.cell}: {_score(result.test)}, "
        f"{rates[len(rates) // 2]:,.0f} images/s, first step {result.phases.first_step_s:.2f} s"
        f"{lost}"
    )


def _score(test: Score) -> str:
    """AUROC where there is one; of several labels its mean, and what accuracy then counts."""
    if not test.auroc:
        return f"test accuracy {test.accuracy:.4f}"
    mean = mean_auroc(test.auroc)
    shown = "undefined" if mean is None else f"{mean:.4f}"
    if len(test.auroc) == 1:
        return f"test AUROC {shown}, accuracy {test.accuracy:.4f}"
    return f"mean test AUROC {shown}, all labels right {test.accuracy:.4f}"


class LogLines:
    """One line a cell, for a file or a pipe."""

    def __init__(self, cells: int, epochs: int) -> None:
        self._left = cells

    def display(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def phase_started(self, cell: Cell, phase: str) -> None:
        pass

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None:
        pass

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None:
        self._left -= 1
        kept = " (kept from before)" if resumed else ""
        terminal.note(f"{summary(result)}{kept}; remaining: {self._left}")


class LiveProgress:
    """A bar over all epochs of the run, and what the framework at work is doing."""

    def __init__(self, cells: int, epochs: int) -> None:
        self._epochs = epochs
        self._seen: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=terminal.err,
        )
        self._task: TaskID = self._progress.add_task("starting", total=cells * epochs)

    def display(self) -> AbstractContextManager[Any]:
        return self._progress

    def phase_started(self, cell: Cell, phase: str) -> None:
        self._progress.update(self._task, description=f"{cell}: {phase}")

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None:
        self._seen[cell.id] = number
        auroc = epoch.val_auroc
        validation = "" if auroc is None else f"validation AUROC {auroc:.3f}, "
        self._progress.update(
            self._task,
            advance=1,
            description=(
                f"{cell}: epoch {number}/{self._epochs}, loss {epoch.loss:.4f}, {validation}"
                f"{epoch.images / epoch.seconds:,.0f} images/s"
            ),
        )

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None:
        # A cell that was kept, or that failed half way, will do no more epochs.
        missing = self._epochs - self._seen.pop(result.cell.id, 0)
        self._progress.update(self._task, advance=missing)
        style = None if result.status == "ok" else "red"
        self._progress.console.print(summary(result), style=style, markup=False)


def observer_for_terminal(cells: int, epochs: int) -> LiveProgress | LogLines:
    """Live where a person watches, lines elsewhere."""
    return (LiveProgress if terminal.is_interactive else LogLines)(cells, epochs)


def watched(comparison: Comparison) -> list[CellResult]:
    """Run ``comparison`` while a person is told of it, and write its ``benchmark.json``."""
    from harness.execution.suite import log_of, replay

    epochs = comparison.folder.manifest.experiment.training.epochs
    observer = observer_for_terminal(len(comparison.cells), epochs)
    comparison.observer = observer
    with observer.display():
        results = run(comparison)
    folder = comparison.folder.path
    if not replay(folder):
        terminal.warn(f"benchmark.json is not complete; see {log_of(folder)}")
    return results

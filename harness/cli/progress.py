"""What a person sees while a run goes on: a live display, or lines in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from harness.cli.estimate import Estimate, in_words, on_a_clock
from harness.console import terminal
from harness.execution.extras import work_of
from harness.execution.observer import Observer, SilentObserver
from harness.execution.runner import Comparison, run
from harness.plan import Cell
from harness.results.records import CellResult, Epoch, FinalScore, Phases
from harness.stats.metrics import mean_auroc

Work = Mapping[Cell, Mapping[str, int]]
"""Units of work by cell and kind."""
QUIET_S = 15.0
"""A log that had no line for so long gets one that says what is at work."""


def summary(result: CellResult, *, timed: bool = True) -> str:
    """One line on a finished cell; ``timed``: with its speed."""
    if result.status != "ok" or result.test is None or result.phases is None:
        return f"{result.cell}: {result.outcome.upper()}, {result.error}"
    rates = sorted(result.images_per_second)
    lost = "".join(
        f"; {name} FAILED, {extra.message}"
        for name, extra in result.extras.items()
        if extra.state == "failed"
    )
    speed = (
        f", {rates[len(rates) // 2]:,.0f} images/s, first step {result.phases.first_step_s:.2f} s"
    )
    return f"{result.cell}: {_score(result.test)}{speed if timed else ''}{lost}"


def started(cell: Cell, phases: Phases) -> str:
    """One line on what is known of a framework before it trains: the first results of a run."""
    return f"{cell}: import {phases.import_s:.2f} s, first step {phases.first_step_s:.2f} s"


def _score(test: FinalScore) -> str:
    """AUROC where there is one; of several labels its mean, and what accuracy then counts."""
    if not test.auroc:
        return f"test accuracy {test.accuracy:.4f}"
    mean = mean_auroc(test.auroc)
    shown = "undefined" if mean is None else f"{mean:.4f}"
    if len(test.auroc) == 1:
        return f"test AUROC {shown}, accuracy {test.accuracy:.4f}"
    return f"mean test AUROC {shown}, all labels right {test.accuracy:.4f}"


class Shown(Observer, Protocol):
    """An observer that a person sees."""

    def display(self) -> AbstractContextManager[Any]:
        """Holds while the run is at work."""


class LogLines:
    """Lines for a file or a pipe: every phase, every cell, and a sign of life in between."""

    def __init__(self, work: Work, epochs: int, *, timed: bool = True) -> None:
        self._left = len(work)
        self._epochs = epochs
        self._timed = timed
        self._estimate = Estimate(work)
        self._doing = "starting"
        self._last = time.monotonic()
        self._lock = threading.Lock()

    @contextmanager
    def display(self) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(1.0):
                if time.monotonic() - self._last > QUIET_S:
                    self._tell(self._doing)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def phase_started(self, cell: Cell, phase: str) -> None:
        self._doing = f"{cell}: {phase}"
        self._tell(self._doing)

    def cell_started(self, cell: Cell, phases: Phases) -> None:
        if self._timed:
            self._tell(started(cell, phases))

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None:
        self._estimate.epoch(cell, number, self._epochs)
        self._doing = f"{cell}: {described(number, self._epochs, epoch, timed=self._timed)}"
        if number == 1 or terminal.verbose:
            self._tell(self._doing)

    def work_ended(self, cell: Cell, kind: str) -> None:
        self._estimate.unit(cell, kind)

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None:
        self._left -= 1
        self._estimate.end(result.cell)
        kept = " (kept from before)" if resumed else ""
        self._tell(f"{summary(result, timed=self._timed)}{kept}; remaining: {self._left}")

    def _tell(self, what: str) -> None:
        with self._lock:
            self._last = time.monotonic()
            left = self._estimate.remaining
            about = "" if left is None else f", about {in_words(left)} left"
            terminal.note(f"[{on_a_clock(self._estimate.elapsed)}{about}] {what}")


class TwoLines(Progress):
    """The bar and its figures, and below them what is at work: both fit 80 columns."""

    doing = "starting"

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.doing, style="dim", no_wrap=True, overflow="ellipsis")


class LiveProgress:
    """A bar over all epochs of the run, and what the framework at work is doing."""

    def __init__(self, work: Work, epochs: int, *, timed: bool = True) -> None:
        self._epochs = epochs
        self._timed = timed
        self._estimate = Estimate(work)
        self._progress = TwoLines(
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            TextColumn("{task.fields[elapsed]}"),
            TextColumn("{task.fields[left]}"),
            console=terminal.err,
            get_time=self._tick,
        )
        self._task: TaskID | None = None
        self._task = self._progress.add_task(
            "", total=self._estimate.total, elapsed="0:00", left=""
        )

    def _tick(self) -> float:
        """Called at every refresh: the clock goes on while an epoch lasts."""
        if self._task is not None:
            fields = self._progress.tasks[0].fields
            fields["elapsed"] = on_a_clock(self._estimate.elapsed)
        return time.monotonic()

    def display(self) -> AbstractContextManager[Any]:
        return self._progress

    def phase_started(self, cell: Cell, phase: str) -> None:
        self._show(f"{cell}: {phase}")

    def cell_started(self, cell: Cell, phases: Phases) -> None:
        if self._timed:
            self._progress.console.print(started(cell, phases), markup=False)

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None:
        self._estimate.epoch(cell, number, self._epochs)
        self._show(f"{cell}: {described(number, self._epochs, epoch, timed=self._timed)}")
        if terminal.verbose:
            self._progress.console.print(self._progress.doing, markup=False)

    def work_ended(self, cell: Cell, kind: str) -> None:
        self._estimate.unit(cell, kind)
        self._show(self._progress.doing)

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None:
        self._estimate.end(result.cell)
        self._show(self._progress.doing)
        style = None if result.status == "ok" else "red"
        said = summary(result, timed=self._timed)
        self._progress.console.print(said, style=style, markup=False)

    def _show(self, doing: str) -> None:
        self._progress.doing = doing
        left = self._estimate.remaining
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=self._estimate.done,
            left="" if left is None else f"about {in_words(left)} left",
        )


class Silent(SilentObserver):
    """Of ``--quiet``."""

    def display(self) -> AbstractContextManager[Any]:
        return nullcontext()


def described(number: int, epochs: int, epoch: Epoch, *, timed: bool = True) -> str:
    """One line on an epoch; ``timed``: with its speed."""
    auroc = "" if epoch.val_auroc is None else f"validation AUROC {epoch.val_auroc:.3f}"
    speed = f"{epoch.images / epoch.seconds:,.0f} images/s"
    shown = [f"epoch {number}/{epochs}", f"loss {epoch.loss:.4f}", auroc, speed if timed else ""]
    return ", ".join(filter(None, shown))


def observer_for_terminal(work: Work, epochs: int, *, timed: bool) -> Shown:
    """Live where a person watches, lines elsewhere, nothing where that was asked for."""
    if terminal.quiet:
        return Silent()
    return (LiveProgress if terminal.is_interactive else LogLines)(work, epochs, timed=timed)


def watched(
    comparison: Comparison, execute: Callable[[Comparison], list[CellResult]] = run
) -> list[CellResult]:
    """``execute`` a comparison while a person is told of it, and write its ``benchmark.json``."""
    from harness.execution.suite import log_of, replay

    folder = comparison.folder
    experiment = folder.manifest.experiment
    work = {cell: work_of(experiment, cell, folder.read_result(cell)) for cell in comparison.cells}
    observer = observer_for_terminal(
        work, experiment.training.epochs, timed=not experiment.accuracy_only
    )
    comparison.observer = observer
    with observer.display():
        results = execute(comparison)
    if not experiment.accuracy_only and not replay(folder.path):
        terminal.warn(f"benchmark.json is not complete; see {log_of(folder.path)}")
    return results

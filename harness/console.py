"""The one object through which the harness speaks to a person."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


class Terminal:
    """Prints results to stdout and everything else to stderr; rich is imported at first use.

    Bound late to ``sys.stdout`` so that click's test runner and redirections see the output.
    """

    @cached_property
    def out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        return _console(stderr=True)

    @property
    def is_interactive(self) -> bool:
        """Whether live progress makes sense: a person watches, rather than a log file."""
        return sys.stderr.isatty()

    def print(self, renderable: RenderableType = "") -> None:
        """Print a result (markup is interpreted; escape what comes from files)."""
        self.out.print(renderable)

    def print_table(self, table: Table) -> None:
        """Print a table; nothing is folded for whoever reads a file or a pipe."""
        if not self.out.is_terminal:
            options = self.out.options.update(max_width=10_000)
            table.width = self.out.measure(table, options=options).maximum
        self.out.print(table)

    def note(self, message: str) -> None:
        """Print a remark that is not part of the result, to stderr, without markup."""
        self._remark(message)

    def warn(self, message: str) -> None:
        self._remark(f"warning: {message}", style="yellow")

    def error(self, message: str) -> None:
        self._remark(f"error: {message}", style="bold red")

    def _remark(self, message: str, style: str | None = None) -> None:
        # A stderr that is full or gone must not end the work that it is told of.
        with contextlib.suppress(OSError):
            self.err.print(message, style=style, markup=False)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would end the process here and now

    return Plain(stderr=stderr, soft_wrap=True, highlight=False)


terminal = Terminal()


@contextlib.contextmanager
def progress_bar(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how many more of ``total`` things are done."""
    if not terminal.is_interactive:
        yield lambda _more: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=terminal.err,
    ) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda more: progress.update(task, advance=more)

"""A bar for long work on data, where a person watches; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.console import terminal


@contextmanager
def bar(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
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

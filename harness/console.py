"""The one object through which the harness speaks to a person."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table


_DIRECTIONS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES = {
    **{code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in _DIRECTIONS},
    ord("\n"): "\\n",
    ord("\t"): "\\t",
    ord("\r"): "\\r",
}
_ESCAPES_OF_LINES = {code: text for code, text in _ESCAPES.items() if code != ord("\n")}


def printable(text: str) -> str:
    """``text`` from outside on one line, in valid Unicode that no terminal acts on.

    Newlines, ANSI escapes and other control characters become escapes, as do those that turn the
    direction of writing and the bytes of a file name that are not UTF-8. Letters of any script
    stay.
    """
    return _valid(text).translate(_ESCAPES)


def plural(count: int, noun: str, verb: str = "") -> str:
    """'1 image is', '2 images are': ``noun`` and ``verb`` are given in the singular."""
    many = {"is": "are", "was": "were", "has": "have", "": ""}.get(verb, verb.removesuffix("s"))
    words = [f"{count:,}", noun if count == 1 else f"{noun}s", verb if count == 1 else many]
    return " ".join(filter(None, words))


def _valid(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, of no file name
        return text.encode("utf-8", "backslashreplace").decode()


class Terminal:
    """Prints results to stdout and everything else to stderr; rich is imported at first use.

    Bound late to ``sys.stdout`` so that click's test runner and redirections see the output.
    """

    quiet = False
    """Whether remarks and progress are left out; results, warnings and errors are not."""
    verbose = False
    """Whether every epoch gets a line."""

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
        if not self.quiet:
            self._remark(message)

    def status(self, message: str) -> AbstractContextManager[object]:
        """Show what is being done while the context lasts; to a log file, one line."""
        if self.is_interactive and not self.quiet:
            return self.err.status(message)
        self.note(message)
        return contextlib.nullcontext()

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
    from rich.segment import Segment

    class Plain(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:  # names of files and classes, messages of libraries: they may hold anything
                    text = _valid(segment.text).translate(_ESCAPES_OF_LINES)
                    yield Segment(text, segment.style)

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

"""The command ``bench``: one module a verb, imported only when that verb is called.

Whatever goes wrong and can be foreseen ends here, as one line on stderr: bad input, a full disk, no
memory (exit code 2), a signal (128 and its number). A traceback is a defect of the harness.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from harness import __version__, signals
from harness.errors import BenchError, WorkerError

_VERBS = {
    "run": "Train and compare, then write the report.",
    "report": "Render the report of a finished run again.",
    "merge": "Merge runs of one experiment, as of its shards, into one.",
    "compare": "Compare two runs or more: speed and accuracy.",
    "reproduce": "Repeat a run and report what came out equal.",
    "check": "Check a run against stored baselines; for CI.",
    "baseline": "Store what a run reached, or show what is stored.",
    "evaluate": "Evaluate trained weights in one framework or several.",
    "parity": "Prove that the frameworks compute the same, from the same weights and batches.",
    "weights": "Copy trained weights out of a run, or import those of others.",
    "data": "Export, import, fetch, validate and describe data sets.",
    "setup": "Install what a framework needs and pip cannot bring.",
    "list": "List frameworks, models, data sets or runs.",
    "doctor": "Say which frameworks are ready, where they are, and how to fix the others.",
}


_SHADOWING = ("list",)
"""Verbs whose modules and functions have an underscore behind their names."""
_STDOUT = "standard output"


class LazyGroup(click.Group):
    """Knows its verbs and their help without importing them: ``bench --help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        name = f"{cmd_name}_" if cmd_name in _SHADOWING else cmd_name
        command: click.Command = getattr(importlib.import_module(f"harness.cli.{name}"), name)
        return _with_loudness(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb; of a misspelt one it says which was meant."""
        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            close = get_close_matches(args[0], _VERBS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)

    def __call__(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run the command as this process: its streams, its signals, its exit code."""
        _open_streams()
        signals.install()
        # The records of a run are millions of objects that stay; Python's collector would look at
        # them again and again, for a fifth of the time that a report of many cells takes.
        gc.set_threshold(100_000, 50, 1000)
        code: Any = 1
        try:
            with _one_line():
                result = self.main(*arguments, **{**options, "standalone_mode": False})
                code = result if isinstance(result, int) else 0
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except SystemExit as end:
            code = end.code
        signals.ending()
        gc.freeze()  # what is left goes with the process: nobody has to look for cycles in it
        lost = _close_streams()
        raise SystemExit(code or lost)


def _with_loudness(command: click.Command) -> click.Command:
    """``command`` with --quiet and --verbose, or its subcommands with them."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_loudness(each)
    elif not any(parameter.name == "quiet" for parameter in command.params):
        for name, letter, meaning in (
            ("quiet", "-q", "No remarks and no progress; results, warnings and errors only."),
            ("verbose", "-v", "A line for every epoch."),
        ):
            option = click.Option(
                [f"--{name}", letter], is_flag=True, expose_value=False, callback=_set, help=meaning
            )
            command.params.append(option)
    return command


def _set(_: click.Context, parameter: click.Parameter, value: bool) -> None:
    from harness.console import terminal

    assert parameter.name is not None
    setattr(terminal, parameter.name, value)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn every foreseeable error into one line on stderr and an exit code."""
    try:
        yield
    except BenchError as error:
        _end(2, str(error))
    except WorkerError as error:
        _end(1, " ".join(str(error).split()))
    except (KeyboardInterrupt, click.Abort):
        _end(signals.exit_code(), signals.description())
    except BrokenPipeError:
        # Whoever reads the output has seen enough, as with `| head`.
        _discard(sys.stdout)
        raise SystemExit(128 + 13) from None
    except MemoryError as error:
        _end(2, f"out of memory: {error}" if str(error) else "out of memory")
    except OSError as error:
        if error.filename == _STDOUT:
            _discard(sys.stdout)
        reason = error.strerror or str(error)
        _end(2, reason if error.filename is None else f"{error.filename}: {reason}")


def _end(code: int, message: str) -> NoReturn:
    from harness.console import terminal

    terminal.error(message)
    raise SystemExit(code)


class _Stdout(io.FileIO):
    """File descriptor 1; its errors say that they are of no other file."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            error.filename = _STDOUT
            raise


def _open_streams() -> None:
    """Streams that were closed lead nowhere, so that no data file takes their number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # Names of files need not be valid text.
    interactive = os.isatty(1)
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(1, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=interactive,
    )
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _close_streams() -> int:
    """Flush both streams, so that the interpreter finds nothing to complain of; exit code."""
    code = 0
    try:
        with _one_line():
            sys.stdout.flush()
    except SystemExit as end:
        code = int(end.code or 0)
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def _discard(stream: Any) -> None:
    """What is still waiting for a stream that cannot take it is thrown away."""
    with contextlib.suppress(OSError, ValueError):
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)
        stream.flush()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Train the same networks, from the same numbers, in several frameworks; compare them."""

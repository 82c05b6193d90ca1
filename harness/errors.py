"""The errors that a person sees: what is wrong, where, and what to do, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Something the person who typed the command can fix; printed as one line, exit code 2.

    Raised for bad input (a damaged file, an unknown name, an impossible setting). Anything else
    that escapes is a defect of the harness and keeps its traceback.
    """


class WorkerError(Exception):
    """A framework failed inside its worker process.

    Carries the framework's own message; ``details`` holds its traceback for the log.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class WorkerTimeoutError(WorkerError):
    """A worker did not answer in time and was ended."""


class ProbeError(Exception):
    """The machine could not be measured."""


class DivergedError(WorkerError):
    """A training produced numbers that are not finite."""


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that is none of ``known``; it guesses what was meant."""
    names = list(known)
    close = get_close_matches(name, names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return BenchError(f"unknown {kind} '{name}'{hint} (known: {', '.join(names) or 'none'})")

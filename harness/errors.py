"""The errors that a person sees: what is wrong, where, and what to do, in one line."""

from __future__ import annotations


class BenchError(Exception):
    """Something the person who typed the command can mend; printed as one line, exit code 2.

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

"""What an installation consists of: sentences with something to run behind them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchError


class CannotInstallError(BenchError):
    """This machine does not allow it; the message says what a person can do."""


@dataclass(frozen=True)
class Action:
    """One step; without ``run`` it merely states a fact."""

    sentence: str
    run: Callable[[], None] | None = None


def output_of(
    *command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end; what it printed.

    Raises:
        CannotInstallError: it failed; the message holds the line in which it says why.
    """
    words = [str(word) for word in command]
    try:
        run = subprocess.run(
            words,
            cwd=folder,
            # Untranslated and without questions, where the command is one of Debian's.
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
            | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise CannotInstallError(f"cannot run {words[0]}: {error.strerror}") from None
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith(("E:", "ERROR"))]
        why = [*errors, *lines, f"exit code {run.returncode}"][0]
        raise CannotInstallError(f"'{' '.join(words[:3])}' failed: {why}")
    return run.stdout

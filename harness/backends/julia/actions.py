"""What an installation consists of: sentences with something to run behind them."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.backends.setup import CannotInstallError
from harness.processes import cause

_SILENCE_S = 20
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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
        why = cause(run.stderr.splitlines()) or f"exit code {run.returncode}"
        raise CannotInstallError(f"'{' '.join(words[:3])}' failed: {why}")
    return run.stdout


def run_logged(
    command: Iterable[str | Path],
    log: Path,
    show: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command that takes minutes: its output goes to ``log`` and, line by line, to ``show``.

    A line about the time passed is shown where the command is silent.

    Raises:
        CannotInstallError: it failed; the message holds the cause and names ``log``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        try:
            for line in _with_heartbeat(process):
                if line is None:
                    show(f"... {time.monotonic() - started:.0f} s")
                    continue
                text = _ANSI.sub("", line).rstrip()
                kept.write(text + "\n")
                kept.flush()
                if text.strip():
                    lines.append(text)
                    show(text)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        why = cause(lines) or f"exit code {process.returncode}"
        raise CannotInstallError(f"{why} (everything it printed: {log})")


def _with_heartbeat(process: subprocess.Popen[str]) -> Iterable[str | None]:
    """The lines of a process, and None after every ``_SILENCE_S`` seconds without one."""
    assert process.stdout is not None
    arrived: queue.Queue[str | None] = queue.Queue()

    def read(stream: Iterable[str]) -> None:
        for line in stream:
            arrived.put(line)
        arrived.put(None)

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=_SILENCE_S)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line

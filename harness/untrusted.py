"""HDF5 files of unknown origin: opened first in another process, with limits.

Some damaged files make libhdf5 loop without end, deaf to Ctrl-C, or crash the process that opens
them. ``harness.hdf5_child`` walks through a file before this process does. It is started at the
first file and serves all others; a file is examined again only when it has changed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchError

CPU_S = 10
"""Processor time that a single call of libhdf5 may take."""
WALL_S = 60.0
"""Time without any sign of life, for a call that waits instead of computing."""
_START_S = 120.0
_EXAMINED = "BENCH_EXAMINED_HDF5"
"""Variable through which workers know what this process has examined: they do not repeat it."""
_PASSED_ON = 100


@dataclass(frozen=True)
class Examination:
    """What the other process found."""

    opens: bool
    """Whether libhdf5 opens the file at all."""
    fault: str | None
    """What is wrong, in one line; None: this process may read the file."""


class _Child:
    """The other process; it is replaced when it had to be killed."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("hdf5_child.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), str(CPU_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for this process to handle
        )
        self._pending = b""
        self._fresh = True
        self.usable = True
        self.crashed = False
        self.has_seen_faults = False

    def examine(self, path: Path) -> Examination:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            self._process.stdin.flush()
            while True:
                line = self._line(_START_S if self._fresh else WALL_S)
                self._fresh = False
                if line is None:
                    self.usable = False
                    return Examination(
                        True, f"reading it does not end (stopped after {WALL_S:g} s)"
                    )
                answer = json.loads(line)
                if answer != "alive":
                    opens, fault = answer
                    self.has_seen_faults |= fault is not None
                    return Examination(opens, None if fault is None else " ".join(fault.split()))
        except (EOFError, BrokenPipeError, ValueError):
            self.usable = False
            return Examination(True, self._death())

    def _line(self, timeout: float) -> bytes | None:
        """The next line of the answer, or None when it did not come in time."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(timeout):
                    return None
                if not (more := os.read(descriptor, 65536)):
                    raise EOFError
                self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _death(self) -> str:
        code = self._process.wait()
        if self._fresh:
            raise BenchError(
                "HDF5 files cannot be examined: the process that does so ended with exit code "
                f"{code} before it read any; run `{sys.executable} -m pip check`"
            )
        if code in (-24, -9):  # SIGXCPU, or its hard limit
            return f"reading it does not end (stopped after {CPU_S} s)"
        self.crashed = True
        return f"reading it crashes the HDF5 library (exit code {code})"

    def stop(self) -> None:
        self._process.kill()
        with self._process:  # closes the pipes, and waits
            pass


_lock = threading.Lock()
_child: _Child | None = None
_trusted: set[str] = set()


def examine(path: Path) -> Examination:
    """Whether this process may open the HDF5 file at ``path``, a regular file.

    Raises:
        OSError: there is no such file.
        BenchError: no process could be started.
    """
    global _child
    with _lock:
        state = _state(path)
        if state in _trusted or state in os.environ.get(_EXAMINED, "").split():
            return Examination(True, None)
        child = _child or _Child()
        _child = None  # until it has answered: an interrupted one must not answer the next question
        try:
            verdict = child.examine(path)
            if child.crashed and child.has_seen_faults:
                # Perhaps because of what an earlier file left behind.
                child.stop()
                child = _Child()
                verdict = child.examine(path)
        except BaseException:
            child.stop()
            raise
        if child.usable:
            _child = child
        else:
            child.stop()
        if verdict.fault is None:
            _trust(state)
        return verdict


def trust(path: Path) -> None:
    """Remember that this process wrote the file at ``path`` itself."""
    with _lock, contextlib.suppress(OSError):
        _trust(_state(path))


def _state(path: Path) -> str:
    state = path.stat()
    return f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}"


def _trust(state: str) -> None:
    _trusted.add(state)
    before = os.environ.get(_EXAMINED, "").split()
    os.environ[_EXAMINED] = " ".join([*before, state][-_PASSED_ON:])


@atexit.register
def _stop() -> None:
    global _child
    if _child is not None:
        _child.stop()
        _child = None

"""Child processes: they end with their parent, and when they take too long."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def start(
    module: str, *arguments: str, fds: Sequence[int] = (), **options: Any
) -> subprocess.Popen[Any]:
    """Start ``python -P -m module ARGUMENTS PARENT``; it must hand PARENT to :func:`follow_parent`.

    Nothing in the current folder takes the place of a module. The child leads a process group of
    its own: Ctrl-C reaches a whole group, and the parent decides when a child ends. ``fds`` are
    passed on; ``options`` are those of ``Popen``.
    """
    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        return _start(module, arguments, f"{os.getpid()}", fds, options)
    # The kernel's signal would come when the starting thread ends, or there is none: a pipe that
    # only this process holds open tells the child instead.
    theirs, ours = os.pipe()
    try:
        process = _start(module, arguments, f"{os.getpid()}:{theirs}", [*fds, theirs], options)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    weakref.finalize(process, os.close, ours)
    return process


def _start(
    module: str, arguments: Sequence[str], parent: str, fds: Sequence[int], options: dict[str, Any]
) -> subprocess.Popen[Any]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments, parent],
        pass_fds=fds,
        start_new_session=True,
        **options,
    )


def follow_parent(parent: str) -> None:
    """In the child: be killed as soon as the parent that :func:`start` named is gone."""
    pid, _, pipe = parent.partition(":")
    if pipe:
        threading.Thread(target=_await_end, args=(int(pipe),), daemon=True).start()
        return
    # By the kernel, because no thread of Python runs while a framework keeps the interpreter.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(pid):  # it was gone before that
        os.kill(os.getpid(), signal.SIGKILL)


def _await_end(pipe: int) -> None:
    # Signals stay with the other threads: the profilers of some languages send them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.read(pipe, 1)  # returns when the last holder of the other end is gone
    os.killpg(os.getpid(), signal.SIGKILL)


def kill(process: subprocess.Popen[Any], *, wait_s: float = 10.0) -> None:
    """End a process of :func:`start` and its group by force; it may be stopped or hang."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        # One in the middle of a system call that cannot be interrupted is left to the kernel.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)


@contextlib.contextmanager
def time_limit(seconds: float, expire: Callable[[], object]) -> Iterator[None]:
    """Call ``expire`` from another thread unless the block ends within ``seconds``."""
    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def thread_settings(threads: int) -> dict[str, str]:
    """Environment of a child process that is to use ``threads`` threads and this harness."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # A worker imports the harness from wherever this process found it.
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # An empty entry would stand for the current folder.
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, inherited)])
    return dict.fromkeys(names, str(threads)) | {"PYTHONPATH": path}


# These follow the cause, or stand around it.
_CONSEQUENCE = re.compile(r"[Ff]ailed to precompile|failed process")


def cause(lines: Iterable[str]) -> str:
    """The line in which a failed program says why; empty where it says nothing.

    Some programs mark errors; of several, the first that is not a consequence of another.
    """
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.upper().startswith(("E:", "ERROR"))]
    causes = [line for line in errors if not _CONSEQUENCE.search(line)]
    return [*causes, *errors, *said[-1:], ""][0]

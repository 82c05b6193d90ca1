"""Signals that ask the command to stop: one exception for all of them, and one exit code each."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from types import FrameType

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
_SAME_S = 1.0
"""`timeout` and terminals may send a signal twice; who asks again after this long means it."""

_received: int | None = None
_when = 0.0


class Stopped(KeyboardInterrupt):
    """The command was asked to stop: by Ctrl-C, `kill`, or a terminal that went away."""


def install() -> None:
    """Raise :class:`Stopped` at a signal that asks to stop; a second one ends the process at once.

    A signal that is ignored stays so, as `nohup` wants it.
    """
    for name in _STOPPING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(number, _stop)


def ending() -> None:
    """From here on there is nothing left to clean up: a signal simply ends the process."""
    for name in _STOPPING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


def exit_code() -> int:
    """128 and the number of the signal that came, or of Ctrl-C where none was seen."""
    return 128 + (_received or signal.SIGINT)


def description() -> str:
    """What came, as a word for the person at the terminal."""
    if _received in (None, signal.SIGINT):
        return "interrupted"
    return f"stopped by {signal.Signals(_received).name}"


def _stop(number: int, _frame: FrameType | None) -> None:
    global _received, _when
    now = time.monotonic()
    if _received is None:
        _received, _when = number, now
        _leave_dead_terminal()
        raise Stopped
    if now - _when > _SAME_S:
        os._exit(128 + number)


def _leave_dead_terminal() -> None:
    """Streams of a terminal that went away lead nowhere: no write may fail from here on."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)

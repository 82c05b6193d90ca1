"""Folders that workers compile into: removed with their worker, or else at the next start."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.files import file_sha256
from harness.results.records import CompileCache

_PREFIX = "bench-cache-"
_LOCK = ".in-use"
"""Held locked as long as the process lives that made the folder; the kernel lets go of it."""


@contextlib.contextmanager
def compile_cache() -> Iterator[Path]:
    """An empty folder, removed in the end."""
    folder, lock = _create()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned() -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # without a lock, in use, or another person's
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Size in bytes and SHA-256 of every file in a folder of caches, by its path there.

    Not the time of the last write, which some set when they read. Links lead to what is not the
    run's own, and empty files are locks.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                found[path.relative_to(folder).as_posix()] = (status.st_size, file_sha256(path))
    return found


def compared(
    before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]
) -> tuple[CompileCache, ...]:
    """What each cache held before a second start, and what that start has written again."""
    written = [path for path in after if before.get(path) != after[path]]
    names = dict.fromkeys(path.partition("/")[0] for path in (*before, *after) if "/" in path)
    return tuple(
        CompileCache(
            name=name,
            files=sum(path.startswith(f"{name}/") for path in before),
            bytes=sum(size for path, (size, _) in before.items() if path.startswith(f"{name}/")),
            rejected=tuple(path for path in written if path.startswith(f"{name}/")),
        )
        for name in names
    )


def _create() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another start has just taken it for abandoned
            os.close(lock)
        else:
            return folder, lock

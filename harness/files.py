"""Files written whole or not at all, and files read without being trusted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError

if TYPE_CHECKING:
    import h5py

IN_MEMORY_BYTES = 128 * 2**20
"""HDF5 files up to this size are built in memory, larger ones on the disk."""
_MARGIN_BYTES = 4 * 2**20
"""Metadata of an HDF5 file, and what other programs write meanwhile."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` to be written: it is renamed to ``path`` at the end, or removed.

    The parent folder is made. What was written is on the disk before the rename.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full; ``path`` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock ``path`` (a file, which is made) against every other process of this machine.

    Waits until it is free.
    """
    with path.open("ab") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_partial(folder: Path) -> None:
    """Remove what processes that were killed have left of :func:`replacing` below ``folder``."""
    for path in folder.rglob(".*.partial"):
        if path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` beside ``path``, flush it to disk and rename: never half a file.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def new_hdf5(path: Path, size: int) -> Iterator[h5py.File]:
    """A new HDF5 file, open for writing, that becomes ``path`` at the end, whole or not at all.

    ``size``: about how many bytes of arrays it will hold. libhdf5 crashes when it closes a file
    that it could not flush, so the disk never fills up under it: a small file is built in memory,
    and the space of a large one is reserved first. Both ways give the same bytes.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full; ``path`` is unchanged.
    """
    import h5py

    from harness.untrusted import trust

    with replacing(path) as temporary:
        needed = size + size // 100 + _MARGIN_BYTES
        try:
            if size <= IN_MEMORY_BYTES:
                with h5py.File(temporary.name, "w", driver="core", backing_store=False) as file:
                    yield file
                    file.flush()
                    image = file.id.get_file_image()
                temporary.write_bytes(image)
            else:
                check_room(path.parent, needed)
                with h5py.File(temporary, "x") as file:
                    _reserve(temporary, needed)
                    yield file
                    file.flush()
                    length = file.id.get_filesize()
                os.truncate(temporary, length)
        except RuntimeError as error:  # h5py's other word for a failed write
            raise OSError(str(error)) from error
    trust(path)


def check_room(folder: Path, needed: int, advice: str = "choose another folder") -> None:
    """Refuse to begin what does not fit on the disk of ``folder``; ``needed`` in bytes.

    Raises:
        BenchError: says how much is needed and how much is free.
    """
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    if free < needed:
        raise BenchError(
            f"{folder}: no space left: {needed / 2**30:.1f} GiB are needed, "
            f"{free / 2**30:.1f} GiB are free; {advice}"
        )


def _reserve(path: Path, size: int) -> None:
    """Give ``path`` its blocks on the disk, or fail while nothing is written yet."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return  # a file system that reserves nothing
        os.ftruncate(descriptor, 0)  # room for the few bytes that closing the file writes
        raise
    finally:
        os.close(descriptor)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_regular(path: Path) -> os.stat_result:
    """The state of a file that can be read from any position.

    Raises:
        OSError: there is none, or it cannot be examined.
        BenchError: a folder, pipe or device: opening one may wait for ever.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        what = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or device"
        raise BenchError(f"{path}: is {what}, not a file")
    return state


def read_bytes(path: Path, limit: int) -> bytes:
    """All bytes of a file (or pipe) that should be small.

    Raises:
        OSError: it cannot be read.
        BenchError: it is longer than ``limit`` bytes.
    """
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise BenchError(f"{path}: longer than {limit / 2**20:g} MiB, so not such a file")
    return content


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error


def first_line(error: Any) -> str:
    """The message of an exception, in one line."""
    return " ".join(str(error).split()) or type(error).__name__

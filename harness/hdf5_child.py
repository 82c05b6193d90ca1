"""The process in which an HDF5 file is opened for the first time; see ``harness.untrusted``.

A program of its own, without imports of this package. It reads paths from stdin and writes to
stdout, one JSON value a line: ``"alive"`` while it makes progress, then ``[OPENS, FAULT]``, where
OPENS says whether libhdf5 opens the file and FAULT what is wrong, or null.

Only what the reader will rely on is walked: every group, root attribute, shape, type and chunk
index; values are read where they pass a filter or have variable length. Values that lie in the
file as they are cannot do harm.
"""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

MAX_DEPTH = 4
MAX_OBJECTS = 100_000
MAX_CHUNKS = 10_000_000
MAX_CHUNK_BYTES = 2**28
MAX_ATTRIBUTE_BYTES = 2**28
BLOCK_BYTES = 2**23
MEMORY_BYTES = 2**30
"""What the process may take beyond what its imports took."""


class FaultError(Exception):
    """What is wrong with the file, in a few words."""


def progress(cpu_s: int) -> None:
    """Tell the parent, and allow ``cpu_s`` seconds more: they end a call that never returns."""
    print('"alive"', flush=True)
    with suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(used.ru_utime + used.ru_stime) + cpu_s
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as stream:
            taken = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES,) * 2)


class Walk:
    """One file, from its root down."""

    def __init__(self, file: h5py.File, length: int, cpu_s: int) -> None:
        self.length = length
        self.cpu_s = cpu_s
        self.objects = 0
        for name in file.attrs:
            self.attribute(file, name)
        self.group(file, "", 0)

    def progress(self) -> None:
        progress(self.cpu_s)

    def attribute(self, file: h5py.File, name: str) -> None:
        where = f"attribute {shown(name)}"
        check_text(name, where)
        attribute = file.attrs.get_id(name)
        size = math.prod(attribute.shape or ()) * attribute.dtype.itemsize
        if size > MAX_ATTRIBUTE_BYTES:
            raise FaultError(f"{where} declares {size} bytes")
        value = file.attrs[name]
        for each in value.ravel() if isinstance(value, np.ndarray) else [value]:
            if isinstance(each, str):
                check_text(each, where)
        self.progress()

    def group(self, group: h5py.Group, where: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise FaultError(f"{where}: groups lie deeper than {MAX_DEPTH} levels")
        for name in group:
            self.objects += 1
            if self.objects > MAX_OBJECTS:
                raise FaultError(f"more than {MAX_OBJECTS} objects")
            path = f"{where}/{shown(name)}"
            check_text(name, path)
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise FaultError(f"{path} lies in another file")
            self.progress()
            item = group[name]
            if isinstance(item, h5py.Group):
                self.group(item, path, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self.dataset(item, path)

    def dataset(self, data: h5py.Dataset, where: str) -> None:
        settings = data.id.get_create_plist()
        if settings.get_layout() == h5py.h5d.VIRTUAL or settings.get_external_count():
            raise FaultError(f"{where} lies in another file")
        if data.shape is None:
            raise FaultError(f"{where} has no values (null dataspace)")
        if data.dtype.hasobject and h5py.check_string_dtype(data.dtype) is None:
            raise FaultError(f"{where} is of a type that is neither numbers nor text")
        size = math.prod(data.shape) * data.dtype.itemsize
        if size == 0:
            return
        if settings.get_layout() == h5py.h5d.CHUNKED:
            self.chunks(data, where, filtered=settings.get_nfilters() > 0)
        elif data.id.get_storage_size() < size or not self.inside(data.id.get_offset() or 0, size):
            raise FaultError(f"{where} declares {size} bytes, more than the file holds")
        if settings.get_nfilters() or data.dtype.hasobject:
            self.values(data, where)
        self.progress()

    def chunks(self, data: h5py.Dataset, where: str, *, filtered: bool) -> None:
        """Every chunk of the shape is there, once and inside the file."""
        each = math.prod(data.chunks) * data.dtype.itemsize
        sides = zip(data.shape, data.chunks, strict=True)
        expected = math.prod(-(-side // chunk) for side, chunk in sides)
        if each > MAX_CHUNK_BYTES:
            raise FaultError(f"{where} is in chunks of {each} bytes")
        if expected > MAX_CHUNKS or data.id.get_num_chunks() < expected:
            raise FaultError(f"{where} declares {expected} chunks, more than the file holds")
        found = set()

        def visit(chunk: Any) -> None:
            whole = filtered or chunk.size == each
            if not whole or not self.inside(chunk.byte_offset, chunk.size):
                raise FaultError(f"{where}: a chunk lies outside the file")
            found.add(chunk.chunk_offset)
            if len(found) % 10_000 == 0:
                self.progress()

        data.id.chunk_iter(visit)
        inside = sum(
            all(0 <= at < side for at, side in zip(chunk, data.shape, strict=True))
            for chunk in found
        )
        if inside < expected:
            raise FaultError(f"{where}: {expected - inside} of {expected} chunks are missing")

    def values(self, data: h5py.Dataset, where: str) -> None:
        """Read everything, block by block."""
        text = data.dtype.hasobject
        total = 0
        for block in blocks(data):
            read = np.asarray(data[block])
            if text:
                for each in read.ravel():
                    total += len(each)
                    if total > 4 * self.length + BLOCK_BYTES:
                        raise FaultError(f"{where} holds more text than the file has bytes")
                    if isinstance(each, bytes):
                        each.decode()
            self.progress()

    def inside(self, offset: int, size: int) -> bool:
        return 0 <= offset <= self.length - size


def blocks(data: h5py.Dataset) -> Any:
    """Selections of some rows each, in whole chunks."""
    if not data.shape:
        yield ()
        return
    row = max(1, math.prod(data.shape[1:]) * data.dtype.itemsize)
    whole = data.chunks[0] if data.chunks else 1
    step = whole * max(1, BLOCK_BYTES // (row * whole))
    if row * step > MAX_CHUNK_BYTES:
        raise FaultError("a row of chunks is too large to be read")
    for start in range(0, data.shape[0], step):
        yield slice(start, start + step)


def check_text(text: str | bytes, where: str) -> None:
    try:
        text.encode() if isinstance(text, str) else text.decode()
    except UnicodeError:
        raise FaultError(f"{where} is not valid UTF-8") from None


def shown(name: str | bytes) -> str:
    return ascii(name[:80])[1:-1]


def examine(path: str, cpu_s: int) -> tuple[bool, str | None]:
    """Whether libhdf5 opens the file, and what is wrong with it."""
    progress(cpu_s)
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        return False, str(error)
    try:
        Walk(file, os.path.getsize(path), cpu_s)
        progress(cpu_s)
    except FaultError as fault:
        return True, str(fault)
    except MemoryError:
        return True, "reading it takes more memory than such a file can need"
    except Exception as error:  # whatever h5py raises on damage
        return True, f"{type(error).__name__}: {error}"
    finally:
        with suppress(Exception):
            file.close()
    return True, None


def main() -> None:
    cpu_s = int(sys.argv[1])
    limit_memory()
    for line in sys.stdin:
        print(json.dumps(examine(json.loads(line), cpu_s)), flush=True)


if __name__ == "__main__":
    main()

"""Many image files decoded at once, onto the disk: in bounded memory, and resumable.

A spool is a folder beside the data set file that is to be written::

    job.json   what is decoded, and how: an interrupted import goes on only with the same job
    pixels     uint8, image after image, (C, H, W) each
    records    one a image: SHA-256, length and time of change of its file, and whether it is done

Pixels reach the disk before the record that says so. The folder is removed by whoever wrote the
data set file; until then a second import finds its work done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.console import progress_bar
from harness.cpus import available_cpus
from harness.data.importers.images import collecting, size_error
from harness.data.schema import UInt8Array
from harness.errors import BenchError
from harness.files import check_room, write_atomically

_RECORD = np.dtype([("sha256", "u1", 32), ("length", "<i8"), ("changed", "<i8"), ("done", "u1")])
_TASK = 16  # images that a thread takes at once
_CHECKPOINT_S = 5.0  # at most this much work is done again

Decode = Callable[[Path, bytes], UInt8Array]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Rows:
    """Some images of a spool, as :class:`harness.data.schema.Images`: read when asked for.

    ``rows`` int64 (N,): which images, in which order.
    """

    path: Path
    each: Shape
    rows: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.each)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any, /) -> Any:
        """For a slice the images, uint8 (n, C, H, W); for indices the rows at them, unread."""
        if not isinstance(key, slice):
            return Rows(self.path, self.each, self.rows[key])
        chosen = self.rows[key]
        images = np.empty((len(chosen), *self.each), dtype=np.uint8)
        length = int(np.prod(self.each))
        with self.path.open("rb", buffering=0) as stream:
            for image, row in zip(images, chosen.tolist(), strict=True):
                if os.preadv(stream.fileno(), [image.data], row * length) != length:
                    raise BenchError(f"{self.path}: shorter than its records say; remove it")
        return images


@dataclass(frozen=True)
class Decoded:
    """``images`` of all files; ``digests`` uint8 (N, 32), SHA-256 of each file.

    ``broken`` says what is wrong with each file that is no image; its pixels are undefined.
    """

    images: Rows
    digests: UInt8Array
    broken: dict[int, str]


def decode_all(
    folder: Path,
    files: Sequence[Path],
    each: Shape,
    decode: Decode,
    job: Mapping[str, Any],
    workers: int | None = None,
) -> Decoded:
    """Decode ``files`` to ``each`` (C, H, W) in ``workers`` threads (default: one a CPU).

    ``decode(path, content)`` gives an array of that size; it runs without Python's lock for most
    of its time, and raises BrokenImageError for a file to be reported. ``job`` holds everything
    that decides on the pixels. Files that were decoded before, and have not changed since, are
    kept.

    Raises BenchError when another import works here, when an interrupted one had another job, and
    when there is no room on the disk.
    """
    named = hashlib.sha256("\n".join(file.name for file in files).encode()).hexdigest()
    with _opened(folder, {**job, "shape": list(each), "names": named}) as (pixels, records):
        return _decode_all(folder, pixels, records, files, each, decode, workers)


@contextmanager
def _opened(folder: Path, job: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Descriptors of the pixels and the records, for this process alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    flags = os.O_RDWR | os.O_CREAT
    pixels, records = (os.open(folder / name, flags, 0o666) for name in ("pixels", "records"))
    try:
        try:
            fcntl.flock(records, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BenchError(f"{folder}: another import is at work here; wait for it") from error
        _check_job(folder / "job.json", job)
        yield pixels, records
    finally:
        os.close(pixels)
        os.close(records)


def _check_job(path: Path, job: Mapping[str, Any]) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        write_atomically(path, json.dumps(job, sort_keys=True))
        return
    other = sorted(key for key in {*before, *job} if before.get(key) != job.get(key))
    if other:
        raise BenchError(
            f"{path.parent}: holds an interrupted import that differs in {', '.join(other)}; "
            "repeat that one, or delete this folder to begin anew"
        )


def _decode_all(
    folder: Path,
    pixels: int,
    records_file: int,
    files: Sequence[Path],
    each: Shape,
    decode: Decode,
    workers: int | None,
) -> Decoded:
    length = int(np.prod(each))
    records = _read_records(records_file, len(files))
    waiting = _waiting(files, records)
    _check_room(folder, os.fstat(pixels).st_size, len(files) * length)
    stop = Event()
    broken: dict[int, str] = {}

    def work(indices: Sequence[int]) -> None:
        for index in indices:
            if stop.is_set():
                return
            with collecting(broken, index):
                content, state = _content(files[index])
                image = decode(files[index], content)
            if index in broken:
                continue
            if image.shape != each:
                raise size_error(files[index], image.shape[1:], "others are", each[1:])
            os.pwrite(pixels, np.ascontiguousarray(image).data, index * length)
            digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            records[index] = (digest, state.st_size, state.st_mtime_ns, 0)
            records["done"][index] = 1

    def save() -> None:
        now = records.tobytes()  # before the pixels, so that those of all that it says are there
        os.fsync(pixels)
        os.pwrite(records_file, now, 0)

    tasks = [waiting[start : start + _TASK] for start in range(0, len(waiting), _TASK)]
    pool = ThreadPoolExecutor(workers or len(available_cpus()))
    saved = time.monotonic()
    try:
        with progress_bar("decoding", len(files), len(files) - len(waiting)) as advance:
            running = {pool.submit(work, task): len(task) for task in tasks}
            for future in as_completed(running):
                future.result()
                advance(running[future])
                if time.monotonic() - saved > _CHECKPOINT_S:
                    save()
                    saved = time.monotonic()
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        save()
        raise
    pool.shutdown()
    if broken:
        save()
    images = Rows(folder / "pixels", each, np.arange(len(files)))
    return Decoded(images, records["sha256"], dict(sorted(broken.items())))


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    """All bytes of a file, and its state, in as few calls as can be: each one yields the lock."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        state = os.fstat(descriptor)
        content = os.read(descriptor, state.st_size)
        while len(content) < state.st_size and (more := os.read(descriptor, state.st_size)):
            content += more
        return content, state
    finally:
        os.close(descriptor)


def _read_records(descriptor: int, count: int) -> npt.NDArray[Any]:
    records = np.zeros(count, dtype=_RECORD)
    os.preadv(descriptor, [records.data.cast("B")], 0)
    return records


def _waiting(files: Sequence[Path], records: npt.NDArray[Any]) -> list[int]:
    """The files that are not done, or have changed since."""
    for index in np.flatnonzero(records["done"]).tolist():
        state = files[index].stat()
        if (state.st_size, state.st_mtime_ns) != (
            records["length"][index],
            records["changed"][index],
        ):
            records["done"][index] = 0
    return [int(index) for index in np.flatnonzero(records["done"] == 0)]


def _check_room(folder: Path, there: int, needed: int) -> None:
    """The pixels, and the file that is then written from them, must fit on the disk."""
    check_room(folder, 2 * needed - there, "pass a smaller --size, or --out on another disk")

"""Reads data set files; see :mod:`harness.data.schema` for what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h5py
import numpy as np
import numpy.typing as npt

from harness.data.schema import (
    CHUNK_BYTES,
    SCHEMA_VERSION,
    SPLITS,
    TASKS,
    IndexArray,
    Task,
    UInt8Array,
    classes_fault,
    label_fault,
    shape_fault,
    size_fault,
)
from harness.data.summary import ImportSummary
from harness.errors import BenchError
from harness.files import check_regular, file_sha256, first_line
from harness.untrusted import examine

DEFAULT_MEMORY_BUDGET = 2 * 1024**3
"""Bytes that the images of a data set may take in memory."""


class SplitReader:
    """The images and labels of one split; images come from memory or from the disk.

    ``labels`` uint8 (N,) or (N, L), ``group`` int64 (N,) or None: always in memory.
    ``in_memory`` says where ``images`` come from.
    """

    def __init__(self, path: Path, name: str, group: Any, labels: UInt8Array, load: bool) -> None:
        self.name = name
        self.labels = labels
        self._path = path
        self._h5 = group
        self._dataset = group["images"]
        self._shape = tuple(int(side) for side in self._dataset.shape)
        self._images: UInt8Array | None = None
        with _reading(path):
            self.group: npt.NDArray[np.int64] | None = (
                group["group"][()] if "group" in group else None
            )
            if load:
                # A machine with less memory than the budget still trains, from the disk.
                with contextlib.suppress(MemoryError):
                    images = np.empty(self._shape, dtype=np.uint8)
                    self._dataset.read_direct(images)
                    self._images = images

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def in_memory(self) -> bool:
        return self._images is not None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return cast(tuple[int, int, int], self._shape[1:])

    @property
    def id(self) -> list[str] | None:
        """The file names, where the source had some."""
        if "id" not in self._h5:
            return None
        with _reading(self._path):
            return [str(name) for name in self._h5["id"].asstr()[()]]

    def images(self, indices: npt.ArrayLike) -> UInt8Array:
        """The images at ``indices`` (any order, duplicates allowed): uint8 (n, C, H, W).

        A fresh C-contiguous array. Raises IndexError when an index is out of range.
        """
        if self._images is not None:
            return self._images.take(indices, axis=0)  # type: ignore[arg-type]
        return self._from_disk(np.asarray(indices))

    def all_images(self) -> UInt8Array:
        """All images in file order: uint8 (N, C, H, W). Do not write into it."""
        if self._images is not None:
            return self._images
        try:
            images = np.empty(self._shape, dtype=np.uint8)
        except MemoryError:
            size = np.prod(self._shape, dtype=np.int64) / 1024**3
            raise BenchError(
                f"{self._path}: the {self.name} images need {size:.1f} GiB of memory at once"
            ) from None
        with _reading(self._path):
            self._dataset.read_direct(images)
        return images

    def _from_disk(self, indices: IndexArray) -> UInt8Array:
        count = len(self)
        if indices.size == 0:
            return np.empty((0, *self._shape[1:]), dtype=np.uint8)
        if indices.min() < -count or indices.max() >= count:
            raise IndexError(f"index out of range for {count} {self.name} images")
        wanted = np.where(indices < 0, indices + count, indices)
        first, last = int(wanted[0]), int(wanted[-1])
        with _reading(self._path):
            if last - first + 1 == len(wanted) and bool((np.diff(wanted) == 1).all()):
                return cast(UInt8Array, self._dataset[first : last + 1])
            # One by one, as they lie in the file: HDF5 takes many times as long for a list.
            read = np.empty((len(wanted), *self._shape[1:]), dtype=np.uint8)
            for index in np.argsort(wanted):
                read[index] = self._dataset[int(wanted[index])]
            return read


class DatasetFile:
    """An open data set file: what it says of itself, and its splits. A context manager."""

    def __init__(self, path: Path, file: Any, memory_budget: int = DEFAULT_MEMORY_BUDGET) -> None:
        header = read_header(file)
        self.path = path
        self.name = header.name
        self.task: Task = header.task
        self.classes = header.classes
        self.source = header.source
        self.split_rule = header.split_rule
        self.license = header.license
        self.summary = header.summary
        self.mean: npt.NDArray[np.float32] = header.mean.astype(np.float32)
        self.std: npt.NDArray[np.float32] = header.std.astype(np.float32)
        labels: dict[str, UInt8Array] = {}
        for fault in split_faults(file, header, labels):
            raise BenchError(fault)
        self._labels = labels
        self._file = file
        shape = file["train/images"].shape
        self.image_shape: tuple[int, int, int] = (int(shape[1]), int(shape[2]), int(shape[3]))
        self.sizes: dict[str, int] = {name: len(labels[name]) for name in SPLITS}
        # Decided once, in a fixed order, so that it does not depend on who asks first.
        self._loaded: dict[str, bool] = {}
        for name in SPLITS:
            needed = self.sizes[name] * int(np.prod(self.image_shape))
            self._loaded[name] = needed <= memory_budget
            if self._loaded[name]:
                memory_budget -= needed
        self._readers: dict[str, SplitReader] = {}
        self._sha256: str | None = None
        self._content_sha256: str | None = None

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one a class."""
        return len(self.classes)

    @property
    def fits_in_memory(self) -> bool:
        """Whether the images of all splits fit the budget together."""
        return all(self._loaded.values())

    def split(self, name: str) -> SplitReader:
        """The reader of ``train``, ``val`` or ``test``; the images are loaded at the first call."""
        if name not in SPLITS:
            raise ValueError(f"no split {name!r}; there are {', '.join(SPLITS)}")
        if name not in self._readers:
            self._readers[name] = SplitReader(
                self.path, name, self._file[name], self._labels[name], self._loaded[name]
            )
        return self._readers[name]

    def class_counts(self, name: str) -> npt.NDArray[np.int64]:
        """How often each class occurs in a split: int64 (classes,)."""
        labels = self._labels[name]
        if self.task == "multiclass":
            return np.bincount(labels, minlength=self.outputs).astype(np.int64)
        return np.asarray(labels.sum(axis=0, dtype=np.int64))

    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal; computed once."""
        if self._sha256 is None:
            self._sha256 = file_sha256(self.path)
        return self._sha256

    def content_sha256(self) -> str:
        """SHA-256 of what a training sees, in hexadecimal; computed once.

        Over task, classes, and labels, groups and images of each split: two files that differ
        only in where their content came from have one digest.
        """
        if self._content_sha256 is None:
            digest = hashlib.sha256(json.dumps([self.task, self.classes]).encode())
            with _reading(self.path):
                for name in SPLITS:
                    self._add_content(digest, name)
            self._content_sha256 = digest.hexdigest()
        return self._content_sha256

    def _add_content(self, digest: hashlib._Hash, name: str) -> None:
        group, images = self._file[name], self._file[name]["images"]
        owners = group["group"][()].astype("<i8").tobytes() if "group" in group else b""
        labels = self._labels[name].tobytes()
        digest.update(json.dumps([name, images.shape, len(labels), len(owners)]).encode())
        digest.update(labels)
        digest.update(owners)
        step = max(1, 8 * CHUNK_BYTES // int(np.prod(self.image_shape)))
        for start in range(0, len(images), step):
            digest.update(np.ascontiguousarray(images[start : start + step]).data)

    def is_that_of(self, sha256: str, content_sha256: str | None) -> bool:
        """Whether this is the file of ``sha256``, or one with the same content."""
        return self.sha256() == sha256 or self.content_sha256() == content_sha256

    def close(self) -> None:
        """Close the file; what is in memory stays usable."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_dataset(path: Path, memory_budget: int = DEFAULT_MEMORY_BUDGET) -> DatasetFile:
    """Open a data set file and check all that is cheap to check (everything but the pixels).

    ``memory_budget``: bytes that the images of all splits together may take in memory; a split
    that does not fit is read from the disk, batch by batch.

    Raises BenchError, with a sentence of its own for each: no such file, a folder, no permission,
    not HDF5, truncated, another schema, a missing split, wrong shapes or dtypes, no images,
    images of two sizes, labels out of range.
    """
    file = open_h5(path)
    try:
        with _reading(path):
            return DatasetFile(path, file, memory_budget)
    except BenchError as error:
        file.close()
        message = str(error)
        prefix = f"{path}: "
        raise BenchError(message if message.startswith(prefix) else prefix + message) from error


def open_h5(path: Path) -> Any:
    """Open any HDF5 file for reading, or raise BenchError that says why it cannot be opened.

    A file that this process has not written is examined in another one first: it may make
    libhdf5 crash, or loop without end.
    """
    try:
        state = check_regular(path)
        with path.open("rb"):
            pass
        verdict = examine(path)
    except FileNotFoundError:
        raise BenchError(f"{path}: no such file; `bench data list` shows what there is") from None
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not state.st_size:
        raise BenchError(f"{path}: is empty (0 bytes), not an HDF5 file; export or copy it again")
    if verdict.fault is None:
        with _reading(path):
            # Files are replaced by renaming, never changed: readers need no lock.
            return h5py.File(path, "r", locking=False)
    if "truncated" in verdict.fault:
        raise BenchError(
            f"{path}: truncated HDF5 file ({state.st_size} bytes, fewer than it was "
            "written with); export or copy it again"
        )
    if not verdict.opens:
        raise BenchError(
            f"{path}: not an HDF5 file, or its header is damaged; "
            "`bench data import` makes one from images"
        )
    raise BenchError(f"{path}: damaged HDF5 file ({verdict.fault}); export or copy it again")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises on damaged content into BenchError."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise BenchError(
            f"{path}: damaged HDF5 file ({first_line(error)}); export or copy it again"
        ) from error


@dataclass(frozen=True)
class Header:
    """The root attributes of a file; ``mean`` and ``std`` float64 (C,)."""

    name: str
    task: Task
    classes: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    source: list[dict[str, str]]
    split_rule: str
    license: str
    summary: ImportSummary | None = None


def read_header(file: Any) -> Header:
    """The root attributes, checked; BenchError (without the path) for the first fault."""
    attributes = file.attrs
    if "schema" not in attributes:
        raise BenchError(
            "HDF5, but not a data set of this harness (no attribute 'schema'); "
            "`bench data import` makes one from images"
        )
    version = attributes["schema"]
    if not isinstance(version, (int, np.integer)) or int(version) != SCHEMA_VERSION:
        raise BenchError(
            f"schema version {version}, but this harness reads version {SCHEMA_VERSION}; "
            "export or import the data again"
        )

    def text(key: str) -> str:
        value = attributes.get(key)
        if not isinstance(value, str):
            raise BenchError(f"attribute '{key}' is missing or not a string; export it again")
        return value

    task = text("task")
    if task not in TASKS:
        raise BenchError(f"attribute 'task' is {task!r}, expected {' or '.join(TASKS)}")
    listed = np.asarray(attributes.get("classes", []))
    if listed.ndim != 1 or not all(isinstance(name, str) for name in listed):
        raise BenchError("attribute 'classes' is not a list of strings; export it again")
    classes = tuple(str(name) for name in listed)
    if fault := classes_fault(classes, task):
        raise BenchError(fault)
    statistics = {}
    for key in ("mean", "std"):
        values = np.asarray(attributes.get(key, []))
        if values.ndim != 1 or values.size == 0 or values.dtype.kind != "f":
            raise BenchError(f"attribute '{key}' is missing or not a list of numbers")
        if not np.isfinite(values).all():
            raise BenchError(f"attribute '{key}' holds NaN or infinity; export it again")
        statistics[key] = values.astype(np.float64)
    if (statistics["std"] <= 0).any():
        raise BenchError("attribute 'std' is not positive; images cannot be normalised with it")
    try:
        source = json.loads(text("source"))
        if not (isinstance(source, list) and all(map(_is_text_by_text, source))):
            raise ValueError
    except (ValueError, RecursionError):
        raise BenchError("attribute 'source' is not a JSON list of files") from None
    return Header(
        name=text("name"),
        task=cast(Task, task),
        classes=classes,
        mean=statistics["mean"],
        std=statistics["std"],
        source=source,
        split_rule=text("split"),
        license=text("license"),
        summary=_summary(attributes),
    )


def _is_text_by_text(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())


def _summary(attributes: Any) -> ImportSummary | None:
    if "import" not in attributes:
        return None
    try:
        return ImportSummary.model_validate_json(attributes["import"])
    except ValueError:
        raise BenchError("attribute 'import' is not the summary of an import") from None


def split_faults(
    file: Any, header: Header, labels: dict[str, UInt8Array] | None = None
) -> Iterator[str]:
    """Everything wrong with the splits that can be seen without reading pixels, as sentences.

    Fills ``labels`` with the labels of each split that is valid.
    """
    train_shape: tuple[int, ...] | None = None
    classes = len(header.classes)
    for name in SPLITS:
        where = f"/{name}"
        group = file.get(name)
        if not isinstance(group, h5py.Group):
            yield f"{where}: this split is missing"
            continue
        members = {key: group.get(key) for key in ("images", "labels", "group", "id")}
        absent = [key for key in ("images", "labels") if not isinstance(members[key], h5py.Dataset)]
        if absent:
            yield f"{where}/{absent[0]}: this dataset is missing"
            continue
        images, targets = members["images"], members["labels"]
        fault = shape_fault(
            where,
            images.shape,
            images.dtype,
            targets.shape,
            targets.dtype,
            header.task,
            classes,
        )
        if fault:
            yield fault
            continue
        if train_shape is None and name == "train":
            train_shape = images.shape[1:]
            channels = train_shape[0]
            if header.mean.shape != (channels,) or header.std.shape != (channels,):
                yield f"attributes 'mean' and 'std': expected {channels} values, one a channel"
        if train_shape is not None and (fault := size_fault(where, images.shape[1:], train_shape)):
            yield fault
        for key, kind in (("group", "i"), ("id", "O")):
            member = members[key]
            if member is not None and (
                not isinstance(member, h5py.Dataset)
                or member.shape != (images.shape[0],)
                or member.dtype.kind != kind
            ):
                yield f"{where}/{key}: expected one value for each of {images.shape[0]} images"
        values = targets[()]
        if fault := label_fault(where, values, header.task, classes):
            yield fault
            continue
        if labels is not None:
            labels[name] = values

"""The HDF5 schema, version 1: its only writer and its only reader.

Layout of a file::

    /               attributes: schema, name, task, classes, mean, std, source, split, license;
                    optional: import (JSON, what the import found, used and left out)
    /train/images   uint8 (N, C, H, W), chunked by whole images
    /train/labels   uint8 (N,) for task "multiclass", uint8 (N, L) of 0/1 for "multilabel"
    /train/group    int64 (N,), optional: whoever must not appear in two splits (a patient)
    /train/id       UTF-8 strings (N,), optional: file names
    /val, /test     the same

``mean`` and ``std`` (float64, one value a channel, population standard deviation) are those of
/train after division by 255. Equal input gives a byte-identical file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, cast

import h5py
import numpy as np
import numpy.typing as npt

from harness.data.summary import ImportSummary
from harness.errors import BenchError
from harness.files import check_regular, first_line, new_hdf5
from harness.untrusted import examine

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")
TASKS = ("multiclass", "multilabel")
MAX_NAME = 100
MAX_CLASSES = 256  # labels are uint8
DEFAULT_MEMORY_BUDGET = 2 * 1024**3
_CHUNK_BYTES = 1024**2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Task = Literal["multiclass", "multilabel"]
UInt8Array = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.integer[Any]]


class Images(Protocol):
    """uint8 (N, C, H, W): an array, or what fetches its rows from a disk when they are asked for.

    ``images[a:b]`` gives an array; ``images[indices]`` an array, or rows to be fetched later.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True)
class Split:
    """One split, on its way to a file.

    ``images`` uint8 (N, C, H, W); ``labels`` uint8 (N,) or (N, L); ``group`` int64 (N,) or None;
    ``id`` N strings or None.
    """

    images: Images
    labels: UInt8Array
    group: npt.NDArray[np.int64] | None = None
    id: list[str] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: IndexArray) -> Split:
        """The examples at ``indices``, in that order."""
        images = self.images[indices]
        return Split(
            images=np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images,
            labels=self.labels[indices],
            group=None if self.group is None else self.group[indices],
            id=None if self.id is None else [self.id[i] for i in indices],
        )


@dataclass(frozen=True)
class ImageDataset:
    """A whole data set, ready to be written.

    ``splits`` holds exactly train, val and test. ``source`` lists the files that it came from:
    mappings with at least ``file`` and ``sha256``, plus ``url`` or ``note`` where known.
    ``summary`` accounts for what the import found, where it was one.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    source: list[dict[str, str]] = field(default_factory=list)
    split_rule: str = "unknown"
    license: str = "unknown"
    summary: ImportSummary | None = None


# ---------------------------------------------------------------------------------------------
# Rules that both the writer and the reader hold to. Sentences carry the place inside the file.


def _shape_fault(
    place: str,
    images: tuple[int, ...],
    images_dtype: Any,
    labels: tuple[int, ...],
    labels_dtype: Any,
    task: str,
    classes: int,
) -> str | None:
    """What is wrong with the shapes and dtypes of one split, or None."""
    if images_dtype != np.uint8:
        return f"{place}/images: dtype is {images_dtype}, expected uint8"
    if len(images) != 4:
        return f"{place}/images: shape {images} is not (N, C, H, W)"
    if images[0] == 0:
        return f"{place}/images: no images; every split needs at least one"
    if 0 in images:
        return f"{place}/images: shape {images} has an empty side"
    if labels_dtype != np.uint8:
        return f"{place}/labels: dtype is {labels_dtype}, expected uint8"
    expected = (images[0],) if task == "multiclass" else (images[0], classes)
    if labels != expected:
        return f"{place}/labels: shape is {labels}, expected {expected} for task {task}"
    return None


def _label_fault(place: str, labels: UInt8Array, task: str, classes: int) -> str | None:
    """The first label out of range, or None. ``labels`` has passed :func:`_shape_fault`."""
    limit = classes - 1 if task == "multiclass" else 1
    bad = np.argwhere(labels > limit)
    if len(bad) == 0:
        return None
    where = tuple(int(i) for i in bad[0])
    value = int(labels[where])
    more = f" ({len(bad)} such labels)" if len(bad) > 1 else ""
    if task == "multiclass":
        return (
            f"{place}/labels: label {value} at index {where[0]} is out of range, "
            f"there are {classes} classes (labels 0 to {limit}){more}"
        )
    return f"{place}/labels: value {value} at index {list(where)} is neither 0 nor 1{more}"


def _same_size_fault(place: str, shape: tuple[int, ...], train: tuple[int, ...]) -> str | None:
    if shape == train:
        return None

    def text(values: tuple[int, ...]) -> str:
        return "x".join(map(str, values))

    return (
        f"{place}/images: images are {text(shape)} (CxHxW) but those of /train are {text(train)}; "
        "bring all images to one size (`bench data import --size`)"
    )


def _classes_fault(classes: tuple[str, ...], task: str) -> str | None:
    least = 2 if task == "multiclass" else 1
    if not least <= len(classes) <= MAX_CLASSES:
        return f"classes: {len(classes)} classes, expected {least} to {MAX_CLASSES} for task {task}"
    if any(not name.strip() for name in classes):
        return "classes: a class has an empty name"
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        return f"classes: the name {twice!r} appears twice"
    return None


# ---------------------------------------------------------------------------------------------
# Writing


def channel_statistics(
    images: Any, block_bytes: int = 8 * _CHUNK_BYTES
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and population standard deviation of each channel, in [0, 1] units: float64 (C,).

    ``images`` is uint8 (N, C, H, W), an array or an HDF5 dataset; it is read in blocks. The sums
    are exact integers, so the result depends neither on the block size nor on the machine.
    """
    count, channels, height, width = images.shape
    step = max(1, block_bytes // (channels * height * width))
    histogram = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, count, step):
        block = images[start : start + step]
        for channel in range(channels):
            histogram[channel] += _histogram(block[:, channel].ravel())
    n = count * height * width
    mean = np.empty(channels)
    std = np.empty(channels)
    for channel, row in enumerate(histogram.tolist()):
        total = sum(value * times for value, times in enumerate(row))
        squares = sum(value * value * times for value, times in enumerate(row))
        mean[channel] = total / (255 * n)
        std[channel] = ((n * squares - total * total) / (255 * n) ** 2) ** 0.5
    return mean, std


def _histogram(values: UInt8Array) -> npt.NDArray[np.int64]:
    """How often each of the 256 values occurs in ``values`` (N,); counted two at a time."""
    even = len(values) & ~1
    pairs = np.bincount(np.ascontiguousarray(values[:even]).view(np.uint16), minlength=1 << 16)
    square = pairs.reshape(256, 256)
    last = np.bincount(values[even:], minlength=256)
    return np.asarray(square.sum(axis=0) + square.sum(axis=1) + last)


def name_fault(name: str) -> str | None:
    """Why ``name`` cannot name a data set (and its file), or None."""
    if len(name) > MAX_NAME:
        return f"name of {len(name)} characters: it names files, so at most {MAX_NAME} are allowed"
    if _NAME.fullmatch(name):
        return None
    return f"name {name!r}: must be of letters, digits, '.', '_' and '-', and not begin with a sign"


def _check_dataset(dataset: ImageDataset) -> str | None:
    """What keeps ``dataset`` from being written, or None."""
    if fault := name_fault(dataset.name):
        return fault
    if dataset.task not in TASKS:
        return f"task {dataset.task!r}: expected one of {', '.join(TASKS)}"
    if fault := _classes_fault(dataset.classes, dataset.task):
        return fault
    if set(dataset.splits) != set(SPLITS):
        return f"splits are {', '.join(sorted(dataset.splits))}; expected train, val and test"
    for name in SPLITS:
        split, place = dataset.splits[name], f"/{name}"
        fault = (
            _shape_fault(
                place,
                split.images.shape,
                split.images.dtype,
                split.labels.shape,
                split.labels.dtype,
                dataset.task,
                len(dataset.classes),
            )
            or _same_size_fault(
                place, split.images.shape[1:], dataset.splits["train"].images.shape[1:]
            )
            or _label_fault(place, split.labels, dataset.task, len(dataset.classes))
        )
        if fault:
            return fault
        if split.group is not None and (
            split.group.shape != (len(split),) or split.group.dtype != np.int64
        ):
            return f"{place}/group: expected int64 ({len(split)},)"
        if split.id is not None and len(split.id) != len(split):
            return f"{place}/id: {len(split.id)} names for {len(split)} images"
    return None


def _write_split(parent: Any, name: str, split: Split) -> None:
    group = parent.create_group(name)
    count, *shape = split.images.shape
    rows = min(count, max(1, _CHUNK_BYTES // int(np.prod(shape))))
    # No compression: images are read at random during training, and inflating a whole chunk to
    # reach one image would be timed as part of the data pipeline.
    images = group.create_dataset(
        "images", shape=split.images.shape, dtype=np.uint8, chunks=(rows, *shape)
    )
    for start in range(0, count, rows):
        images[start : start + rows] = split.images[start : start + rows]
    group.create_dataset("labels", data=split.labels)
    if split.group is not None:
        group.create_dataset("group", data=split.group)
    if split.id is not None:
        group.create_dataset("id", data=split.id, dtype=h5py.string_dtype("utf-8"))


def _bytes_of(split: Split) -> int:
    """How much room a split takes in a file, roughly and never too little."""
    names = sum(32 + 4 * len(name) for name in split.id or ())
    groups = 0 if split.group is None else split.group.nbytes
    return math.prod(split.images.shape) + split.labels.nbytes + groups + names


def write(path: Path, dataset: ImageDataset, check: Callable[[Any], None] | None = None) -> Path:
    """Write ``dataset`` to ``path`` and return it; a failure leaves no file and no partial file.

    ``check`` is called with the open HDF5 file before it gets its name; what it raises is a
    failure.

    The file is written beside its final name, forced to the disk and renamed into place, so that
    a reader (or a second writer) only ever sees a whole file. Its parent folder is made.

    Raises BenchError when the data break the schema, when a channel of /train is constant (its
    standard deviation is the divisor of the normalisation) or when the folder cannot be written.
    """
    if fault := _check_dataset(dataset):
        raise BenchError(f"{path}: not written: {fault}")
    mean, std = channel_statistics(dataset.splits["train"].images)
    if not std.all():
        channel = int(np.argmin(std))
        raise BenchError(
            f"{path}: not written: channel {channel} of /train is the same in every pixel "
            "(standard deviation 0), so it cannot be normalised"
        )
    # track_order and timestamps stay off (h5py's defaults): equal input, equal bytes.
    with new_hdf5(path, size=sum(map(_bytes_of, dataset.splits.values()))) as file:
        file.attrs["schema"] = SCHEMA_VERSION
        file.attrs["name"] = dataset.name
        file.attrs["task"] = dataset.task
        file.attrs.create("classes", list(dataset.classes), dtype=h5py.string_dtype("utf-8"))
        file.attrs["mean"] = mean
        file.attrs["std"] = std
        file.attrs["source"] = json.dumps(dataset.source, sort_keys=True, ensure_ascii=False)
        file.attrs["split"] = dataset.split_rule
        file.attrs["license"] = dataset.license
        if dataset.summary is not None:
            file.attrs["import"] = dataset.summary.model_dump_json(exclude_defaults=True)
        for name in SPLITS:
            _write_split(file, name, dataset.splits[name])
        if check is not None:
            check(file)
    return path


# ---------------------------------------------------------------------------------------------
# Reading


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
            for place in np.argsort(wanted):
                read[place] = self._dataset[int(wanted[place])]
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
            # Files are replaced by renaming, never changed in place: readers need no lock.
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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error


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
    if fault := _classes_fault(classes, task):
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

    Fills ``labels`` with the labels of each split that is sound.
    """
    train_shape: tuple[int, ...] | None = None
    classes = len(header.classes)
    for name in SPLITS:
        place = f"/{name}"
        group = file.get(name)
        if not isinstance(group, h5py.Group):
            yield f"{place}: this split is missing"
            continue
        members = {key: group.get(key) for key in ("images", "labels", "group", "id")}
        absent = [key for key in ("images", "labels") if not isinstance(members[key], h5py.Dataset)]
        if absent:
            yield f"{place}/{absent[0]}: this dataset is missing"
            continue
        images, targets = members["images"], members["labels"]
        fault = _shape_fault(
            place,
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
        if train_shape is not None and (
            fault := _same_size_fault(place, images.shape[1:], train_shape)
        ):
            yield fault
        for key, kind in (("group", "i"), ("id", "O")):
            member = members[key]
            if member is not None and (
                not isinstance(member, h5py.Dataset)
                or member.shape != (images.shape[0],)
                or member.dtype.kind != kind
            ):
                yield f"{place}/{key}: expected one value for each of {images.shape[0]} images"
        values = targets[()]
        if fault := _label_fault(place, values, header.task, classes):
            yield fault
            continue
        if labels is not None:
            labels[name] = values

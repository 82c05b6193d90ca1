"""The schema of a data set file, version 1: its layout, its types and its rules.

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

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.console import printable
from harness.data.summary import ImportSummary
from harness.stats.tasks import Task as Task

SCHEMA_VERSION = 1
SPLITS = ("train", "val", "test")
TASKS = ("multiclass", "multilabel")
MAX_NAME = 100
MAX_CLASSES = 256  # labels are uint8
CHUNK_BYTES = 1024**2
"""Aimed-at size of a chunk of images, and unit of what is read at once."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

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
# Rules that both the writer and the reader hold to. Sentences carry the path inside the file.


def shape_fault(
    where: str,
    images: tuple[int, ...],
    images_dtype: Any,
    labels: tuple[int, ...],
    labels_dtype: Any,
    task: str,
    classes: int,
) -> str | None:
    """What is wrong with the shapes and dtypes of one split, or None."""
    if images_dtype != np.uint8:
        return f"{where}/images: dtype is {images_dtype}, expected uint8"
    if len(images) != 4:
        return f"{where}/images: shape {images} is not (N, C, H, W)"
    if images[0] == 0:
        return f"{where}/images: no images; every split needs at least one"
    if 0 in images:
        return f"{where}/images: shape {images} has an empty side"
    if labels_dtype != np.uint8:
        return f"{where}/labels: dtype is {labels_dtype}, expected uint8"
    expected = (images[0],) if task == "multiclass" else (images[0], classes)
    if labels != expected:
        return f"{where}/labels: shape is {labels}, expected {expected} for task {task}"
    return None


def label_fault(where: str, labels: UInt8Array, task: str, classes: int) -> str | None:
    """The first label out of range, or None. ``labels`` has passed :func:`shape_fault`."""
    limit = classes - 1 if task == "multiclass" else 1
    bad = np.argwhere(labels > limit)
    if len(bad) == 0:
        return None
    index = tuple(int(i) for i in bad[0])
    value = int(labels[index])
    more = f" ({len(bad)} such labels)" if len(bad) > 1 else ""
    if task == "multiclass":
        return (
            f"{where}/labels: label {value} at index {index[0]} is out of range, "
            f"there are {classes} classes (labels 0 to {limit}){more}"
        )
    return f"{where}/labels: value {value} at index {list(index)} is neither 0 nor 1{more}"


def size_fault(where: str, shape: tuple[int, ...], train: tuple[int, ...]) -> str | None:
    if shape == train:
        return None

    def text(values: tuple[int, ...]) -> str:
        return "x".join(map(str, values))

    return (
        f"{where}/images: images are {text(shape)} (CxHxW) but those of /train are {text(train)}; "
        "bring all images to one size (`bench data import --size`)"
    )


def classes_fault(classes: tuple[str, ...], task: str) -> str | None:
    least = 2 if task == "multiclass" else 1
    if not least <= len(classes) <= MAX_CLASSES:
        return f"classes: {len(classes)} classes, expected {least} to {MAX_CLASSES} for task {task}"
    if any(not name.strip() for name in classes):
        return "classes: a class has an empty name"
    if foreign := [name for name in classes if printable(name) != name]:
        return f"classes: the name {foreign[0]!r} holds control characters; import the data again"
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        return f"classes: the name {twice!r} appears twice"
    return None


def channel_statistics(
    images: Any, block_bytes: int = 8 * CHUNK_BYTES
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

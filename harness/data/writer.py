"""Writes data set files; see :mod:`harness.data.schema` for what is in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.data.schema import (
    CHUNK_BYTES,
    SCHEMA_VERSION,
    SPLITS,
    TASKS,
    ImageDataset,
    Split,
    channel_statistics,
    classes_fault,
    label_fault,
    name_fault,
    shape_fault,
    size_fault,
)
from harness.errors import BenchError
from harness.files import new_hdf5


def _check_dataset(dataset: ImageDataset) -> str | None:
    """What keeps ``dataset`` from being written, or None."""
    if fault := name_fault(dataset.name):
        return fault
    if dataset.task not in TASKS:
        return f"task {dataset.task!r}: expected one of {', '.join(TASKS)}"
    if fault := classes_fault(dataset.classes, dataset.task):
        return fault
    if set(dataset.splits) != set(SPLITS):
        return f"splits are {', '.join(sorted(dataset.splits))}; expected train, val and test"
    for name in SPLITS:
        split, where = dataset.splits[name], f"/{name}"
        fault = (
            shape_fault(
                where,
                split.images.shape,
                split.images.dtype,
                split.labels.shape,
                split.labels.dtype,
                dataset.task,
                len(dataset.classes),
            )
            or size_fault(where, split.images.shape[1:], dataset.splits["train"].images.shape[1:])
            or label_fault(where, split.labels, dataset.task, len(dataset.classes))
        )
        if fault:
            return fault
        if split.group is not None and (
            split.group.shape != (len(split),) or split.group.dtype != np.int64
        ):
            return f"{where}/group: expected int64 ({len(split)},)"
        if split.id is not None and len(split.id) != len(split):
            return f"{where}/id: {len(split.id)} names for {len(split)} images"
    return None


def _write_split(parent: Any, name: str, split: Split) -> None:
    group = parent.create_group(name)
    count, *shape = split.images.shape
    rows = min(count, max(1, CHUNK_BYTES // int(np.prod(shape))))
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


def write_dataset(
    path: Path, dataset: ImageDataset, check: Callable[[Any], None] | None = None
) -> Path:
    """Write ``dataset`` to ``path`` and return it; a failure leaves no file and no partial file.

    ``check`` is called with the open HDF5 file before it gets its name; what it raises is a
    failure.

    The file is written beside its final name, forced to the disk and renamed, so that
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

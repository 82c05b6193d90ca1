"""What every source takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.data.hdf5 import MAX_CLASSES, Split, Task
from harness.errors import BenchError

AskedTask = Task | Literal["binary"]  # binary: multiclass, no finding against any


@dataclass(frozen=True)
class ImportOptions:
    """What a person may say about the data; None means: find out.

    ``size`` (height, width); ``channels`` 1 or 3; ``layout`` "nhwc" or "nchw" (NPZ);
    ``labels_csv`` and the columns (tables); ``test_list`` a text file with the names of the test
    images, one a line (tables); ``classes`` the names of the classes, in the order of the labels;
    ``views`` (PA, AP), ``limit`` (the first rows alone) and ``allow_missing`` (leave images out
    that are missing or broken) are those of NIH's X-rays.

    ``work`` is no wish but a place: a folder beside the file to be written, for what a source
    keeps there until then.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    layout: str | None = None
    task: AskedTask | None = None
    classes: tuple[str, ...] | None = None
    labels_csv: Path | None = None
    test_list: Path | None = None
    file_column: str | None = None
    label_columns: tuple[str, ...] = ()
    group_column: str | None = None
    split_column: str | None = None
    views: tuple[str, ...] = ()
    limit: int | None = None
    allow_missing: bool = False
    work: Path | None = None

    def given(self) -> set[str]:
        """The names of the options that differ from their default."""
        return {f.name for f in fields(self) if getattr(self, f.name) != f.default} - {"work"}


@dataclass(frozen=True)
class RawDataset:
    """What a source read: ``train`` always, ``val`` and ``test`` where the source has them.

    ``val_fraction`` is the share of /train that becomes /val unless a person says otherwise, and
    ``license`` likewise; None and "": nothing is known.
    """

    task: Task
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    source: list[dict[str, str]] = field(default_factory=list)
    split_note: str = ""
    val_fraction: float | None = None
    license: str = ""


def stored_task(path: Path, asked: AskedTask | None) -> Task | None:
    """The task that was asked for, where the source knows nothing of findings."""
    if asked == "binary":
        raise BenchError(f"{path}: --task binary is for --format nih; here it is multiclass")
    return asked


def named_classes(path: Path, highest_label: int, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """The class names for labels 0 to ``highest_label``: as given, or the numbers themselves."""
    count = highest_label + 1
    if count > MAX_CLASSES:
        raise BenchError(f"{path}: label {highest_label}, but labels can be at most 255")
    if given is None:
        return tuple(str(i) for i in range(max(count, 2)))
    if len(given) < count:
        raise BenchError(
            f"{path}: {len(given)} class names were given, but there is a label {highest_label}"
        )
    return given


def whole_numbers(where: str, values: npt.NDArray[np.generic], what: str) -> npt.NDArray[np.uint8]:
    """``values`` as uint8, if that loses nothing; BenchError otherwise."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind not in "biuf" or values.size == 0:
        raise BenchError(
            f"{where}: dtype {values.dtype} or no values; {what} must be whole numbers"
        )
    numbers = values.astype(np.float64) if values.dtype.kind == "f" else values
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= 255):  # also catches NaN
        raise BenchError(f"{where}: values from {low:g} to {high:g}; {what} must lie in 0 to 255")
    result = numbers.astype(np.uint8)
    if values.dtype.kind == "f" and not np.array_equal(result, numbers):
        raise BenchError(
            f"{where}: fractional values from {low:g} to {high:g}; {what} must be whole numbers "
            "from 0 to 255 (scale and round them first)"
        )
    return result

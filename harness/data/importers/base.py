"""What every importer takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.console import plural
from harness.data.importers.naming import natural
from harness.data.importers.options import AskedTask, ImportOptions
from harness.data.schema import MAX_CLASSES, Split, Task
from harness.data.summary import Account, ImportSummary, listed
from harness.errors import BenchError


@dataclass(frozen=True)
class RawDataset:
    """What a source read: ``train`` always, ``val`` and ``test`` where the source has them.

    ``val_fraction`` is the share of /train that becomes /val unless a person says otherwise, and
    ``license`` likewise; None and "": nothing is known. ``summary`` accounts for what was found.
    """

    task: Task
    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    source: list[dict[str, str]] = field(default_factory=list)
    split_note: str = ""
    val_fraction: float | None = None
    license: str = ""
    summary: ImportSummary | None = None


def stored_task(path: Path, asked: AskedTask | None) -> Task | None:
    """The task that was asked for, where the source knows nothing of findings."""
    if asked == "binary":
        raise BenchError(f"{path}: --task binary is for --format nih; here it is multiclass")
    return asked


def class_numbers(
    labels: Mapping[str, npt.NDArray[np.uint8]], options: ImportOptions, account: Account
) -> tuple[dict[str, npt.NDArray[np.uint8]], tuple[str, ...]]:
    """Class numbers from 0, uint8 (N,) by split, and the names of the classes.

    Labels that begin at 1 have two readings: a class 0 without images, or numbers that count from
    1. ``--first-label``, or as many ``--classes`` as there are labels from 1 on, decide.
    """
    where = account.where
    values = np.concatenate(list(labels.values()))
    low, high = int(values.min()), int(values.max())
    if high + 1 > MAX_CLASSES:
        raise BenchError(f"{where}: label {high}, but labels can be at most 255")
    first, given = options.first_label, options.classes
    if first is None and low >= 1 and given is not None and len(given) == high:
        first = 1
        account.decide(f"labels count from 1 to {high}, one for each of the {high} --classes")
    if first is None and low == 1 and (given is None or len(given) < high):
        account.choose(
            f"labels go from 1 to {high}, so 1 may be the first class or the second",
            "--first-label 1 or --first-label 0",
            "--first-label 1",
        )
        first = 1
    if first is not None and low < first:
        raise BenchError(f"{where}: there is a label {low}, below --first-label {first}")
    first = first or 0
    count = high + 1 - first
    if given is None:
        names = tuple(str(i + first) for i in range(max(count, 2)))
    elif len(given) < count:
        raise BenchError(
            f"{where}: {plural(len(given), 'class name', 'was')} given, but there is a label {high}"
        )
    else:
        names = given
    return {name: each - np.uint8(first) for name, each in labels.items()}, names


def check_not_a_measurement(
    numbers: npt.NDArray[np.generic], what: str, options: ImportOptions, account: Account
) -> None:
    """Stop where numeric labels are more likely a quantity (an age) than class numbers.

    ``numbers`` (N,). Class numbers count from 0 or 1 without many gaps, and repeat.
    """
    if options.task == "multiclass" or options.classes is not None:
        return
    distinct = np.unique(numbers)
    fractions = bool((distinct != np.floor(distinct)).any())
    spread = int(distinct[-1] - min(distinct[0], 1)) + 1
    many = len(distinct) > 10 and (len(distinct) < 0.9 * spread or 2 * len(distinct) > len(numbers))
    if fractions or many:
        account.choose(
            f"{what} holds {len(distinct)} different numbers from {distinct[0]:g} to "
            f"{distinct[-1]:g}, which look like a measurement and not like classes",
            "--task multiclass (one class for each value) or another column of labels",
            "one class for each value",
        )


def in_order(
    where: Path, found: Sequence[str], given: tuple[str, ...] | None, account: Account
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``found`` in the order of the labels, and the names that these classes get.

    ``given`` in other words of the same names orders them; names that are all new rename the
    classes in natural order, and the account says which became which.
    """
    ordered = tuple(sorted(found, key=natural))
    if given is None:
        return ordered, ordered
    if set(given) == set(ordered) and len(given) == len(ordered):
        return given, given
    if len(given) != len(ordered):
        raise BenchError(
            f"{where}: {plural(len(given), 'class name', 'was')} given for {len(ordered)} classes "
            f"({listed(ordered, limit=20)})"
        )
    if both := sorted(set(given) & set(ordered)):
        raise BenchError(
            f"{where}: --classes names {both[0]!r} and classes that are not there; name all of "
            f"{listed(ordered, limit=20)} in the order of the labels, or new names for all"
        )
    account.decide(
        "classes are renamed: "
        + listed((f"{old} is {new}" for old, new in zip(ordered, given, strict=True)), limit=20)
    )
    return ordered, given


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

"""What cells and columns of labels mean: one place for tables and arrays."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.data.importers import naming
from harness.data.importers.base import check_not_a_measurement, stored_task
from harness.data.importers.options import AskedTask, ImportOptions
from harness.data.schema import MAX_CLASSES, Task
from harness.data.summary import Account, listed
from harness.errors import BenchError

_LIST = re.compile(r"\[.*\]|\(.*\)|\{.*\}", re.DOTALL)
_PERHAPS_SEPARATORS = (",", ";", "/")
_BITS = {"0": 0, "1": 1, "false": 0, "true": 1}
_UNIQUE = 20  # rows from which on labels that hardly repeat are no classes


@dataclass(frozen=True)
class Labels:
    """Labels of all rows: uint8 (N,) or (N, L). ``unusable``: why a row has none; its are 0."""

    task: Task
    classes: tuple[str, ...]
    values: npt.NDArray[np.uint8]
    unusable: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of_columns(
        cls,
        values: npt.NDArray[np.uint8],
        classes: tuple[str, ...],
        asked: AskedTask | None,
        account: Account,
    ) -> Labels:
        """Labels from columns of 0 and 1, uint8 (N, L).

        Raises:
            AmbiguousError: every row has exactly one 1: one-hot classes, or independent labels.
        """
        task = stored_task(account.where, asked)
        ones = values.sum(axis=1, dtype=np.int64)
        one_hot = bool((ones == 1).all()) and values.shape[1] > 1
        if task is None and one_hot:
            account.choose(
                "every row of the labels has exactly one 1",
                "--task multiclass (classes) or --task multilabel (independent labels)",
                "--task multiclass",
            )
            task = "multiclass"
        if task == "multiclass":
            if not one_hot:
                row = int(np.flatnonzero(ones != 1)[0])
                raise BenchError(
                    f"{account.where}: task multiclass, but row {row + 1} of the labels has "
                    f"{ones[row]} ones instead of one"
                )
            return cls("multiclass", classes, values.argmax(axis=1).astype(np.uint8))
        return cls("multilabel", classes, values)


def of_bits(text: str) -> int | None:
    """0 or 1 of a cell: ``0``, ``1``, ``0.0``, ``1.0``, ``False``, ``True``; None for others."""
    return _BITS.get(naming.label(text).casefold())


def of_cells(texts: Sequence[str], column: str, options: ImportOptions, account: Account) -> Labels:
    """Labels from one column of names.

    A ``|``, or a list such as ``['a', 'b']``, in any cell makes the task multilabel, unless it is
    said. ``--classes`` says which classes there are, and their order.

    Raises:
        BenchError: more classes than labels can count, a label that is not among ``--classes``.
        AmbiguousError: cells that may hold several labels, a word that may mean "no label",
            labels that differ in case only, numbers or texts that look like no classes.
    """
    what = f"column {column!r}"
    task, cells = _divided(list(map(str.strip, texts)), what, options, account)
    unusable = _unusable(texts, cells, task, options, account)
    cells = [[] if row in unusable else cell for row, cell in enumerate(cells)]
    cells = _joined(cells, options, account)
    if task == "multiclass":
        _check_classes([cell[0] for cell in cells if cell], what, options, account)
    cells, classes = _ordered(cells, what, options, account)
    if not classes:
        raise BenchError(f"{account.where}: {what} holds no label in any of {len(cells)} rows")
    rank = {name: position for position, name in enumerate(classes)}
    matrix = np.zeros((len(cells), len(classes)), dtype=np.uint8)
    for row, cell in enumerate(cells):
        for name in cell:
            matrix[row, rank[name]] = 1
    if task == "multilabel":
        return Labels(task, classes, matrix, unusable)
    return Labels(task, classes, matrix.argmax(axis=1).astype(np.uint8), unusable)


def _divided(
    texts: Sequence[str], what: str, options: ImportOptions, account: Account
) -> tuple[Task, list[list[str]]]:
    """The task, and the labels in each cell."""
    asked = stored_task(account.where, options.task)
    separator = options.label_separator
    lists = [bool(_LIST.fullmatch(text)) for text in texts]
    found: Task = "multilabel" if any(lists) else "multiclass"
    if separator is None:
        separator = "|"
        if asked != "multiclass" and not any("|" in text for text in texts):
            separator = _perhaps(texts, lists, what, account)
    if separator and any(separator in text for text in texts):
        found = "multilabel"
    task = asked or found
    if any(lists) and task == "multilabel":
        account.decide(f"cells of {what} that are lists hold several labels")
    if task == "multiclass":
        return task, [[naming.label(text)] for text in texts]
    return task, [
        _parts(text, separator, is_list) for text, is_list in zip(texts, lists, strict=True)
    ]


def _perhaps(texts: Sequence[str], lists: Sequence[bool], what: str, account: Account) -> str:
    """A comma or the like in a cell: part of a name, or between two labels?"""
    plain = [text for text, is_list in zip(texts, lists, strict=True) if not is_list]
    for sign in _PERHAPS_SEPARATORS:
        cells = [text for text in plain if sign in text]
        parts = {part for text in cells for part in _parts(text, sign, False)}
        if not cells or (sign == "/" and not parts & set(plain)):
            continue  # n/a, km/h: only where the parts occur as labels of their own
        account.choose(
            f"{cells[0]!r} in {what} may be one label or several",
            f"--label-separator {sign!r} or --label-separator none",
            f"--label-separator {sign!r}",
        )
        return sign
    return "|"


def _parts(text: str, separator: str, is_list: bool) -> list[str]:
    if is_list:
        text, separator = text[1:-1], separator if separator in text and separator else ","
    pieces = text.split(separator) if separator else [text]
    names = [naming.label(piece.strip().strip("'\"") if is_list else piece) for piece in pieces]
    return list(dict.fromkeys(name for name in names if name))


def _unusable(
    texts: Sequence[str],
    cells: list[list[str]],
    task: Task,
    options: ImportOptions,
    account: Account,
) -> dict[int, str]:
    """Why a row has no label; drops the names that say "no finding" (multilabel)."""
    classes = set(options.classes or ())
    unusable: dict[int, str] = {}
    perhaps = {
        name
        for cell in cells
        for name in cell
        if naming.perhaps_missing(name) and name not in classes
    }
    if perhaps and not options.allow_missing:
        account.choose(
            f"label {sorted(perhaps)[0]!r} may be a class or mean that there is no label",
            "--classes with all names (a class) or --allow-missing (leave such rows out)",
            "a class",
        )
        perhaps = set()
    for row, cell in enumerate(cells):
        none = task == "multilabel" and not cell
        if any(naming.is_missing(name) and name not in classes for name in cell):
            shown = texts[row].strip()
            unusable[row] = f"has no label but {shown!r}" if shown else "has no label"
        elif perhaps & set(cell):
            unusable[row] = f"has no label but {texts[row].strip()!r}"
        elif task == "multilabel" and not none:
            negative = [name for name in cell if naming.is_negative(name)]
            others = [name for name in cell if not naming.is_negative(name)]
            if negative and others:
                unusable[row] = f"says both {negative[0]!r} and {others[0]!r}"
            cells[row] = others
    return unusable


def _joined(cells: list[list[str]], options: ImportOptions, account: Account) -> list[list[str]]:
    """Labels that differ in case only, as one: the more frequent form."""
    if options.classes is not None:
        return cells
    counts = Counter(name for cell in cells for name in cell)
    forms: dict[str, list[str]] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        forms.setdefault(name.casefold(), []).append(name)
    same = {name: names[0] for names in forms.values() if len(names) > 1 for name in names}
    if same:
        first, second = next(names for names in forms.values() if len(names) > 1)[:2]
        account.choose(
            f"labels {first!r} and {second!r} differ in case only",
            "--classes with all names to keep them apart",
            "they are one class",
        )
    return [list(dict.fromkeys(same.get(name, name) for name in cell)) for cell in cells]


def _check_classes(
    names: Sequence[str], what: str, options: ImportOptions, account: Account
) -> None:
    """Stop where the values are no classes: measurements, or texts that hardly repeat."""
    distinct = set(names)
    if not names or options.classes is not None or options.task == "multiclass":
        return
    if all(map(naming.is_number, distinct)):
        check_not_a_measurement(np.array(list(map(float, names))), what, options, account)
    elif len(names) >= _UNIQUE and 2 * len(distinct) > len(names) and len(distinct) <= MAX_CLASSES:
        account.choose(
            f"{what} holds {len(distinct)} different labels in {len(names)} rows",
            "--task multiclass (one class for each) or another --label-column",
            "one class for each",
        )


def _ordered(
    cells: list[list[str]], what: str, options: ImportOptions, account: Account
) -> tuple[list[list[str]], tuple[str, ...]]:
    """The cells in names of classes, and the classes in their order."""
    found = {name for cell in cells for name in cell}
    given = options.classes
    if given is None:
        if len(found) > MAX_CLASSES:
            raise BenchError(
                f"{account.where}: {len(found)} different labels in {what}; "
                f"at most {MAX_CLASSES} can be classes"
            )
        return cells, tuple(sorted(found, key=naming.natural))
    if found and all(name.isdecimal() for name in found) and not found & set(given):
        numbers = sorted(map(int, found))
        if len(numbers) == len(given):
            names = dict(zip(numbers, given, strict=True))
        elif numbers[-1] < len(given):
            names = {number: given[number] for number in numbers}
        else:
            raise BenchError(
                f"{account.where}: {len(given)} --classes, but {what} holds {len(numbers)} labels "
                f"up to {numbers[-1]}"
            )
        pairs = (f"{number} is {name}" for number, name in names.items())
        account.decide(f"labels are named by --classes: {listed(pairs, limit=20)}")
        return [[names[int(name)] for name in cell] for cell in cells], given
    if unknown := sorted(found - set(given)):
        raise BenchError(
            f"{account.where}: label {unknown[0]!r} is not among --classes ({listed(given)})"
        )
    return cells, given

"""A table of labels (CSV) beside image files, such as the NIH chest X-rays.

One row an image. A column names the file; labels stand in one column (several labels joined by
``|``) or in one 0/1 column each; a column of groups (patients) and one of splits may follow. Names
of columns are recognised where they are usual, and can always be said.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.console import plural, printable
from harness.data.importers import naming
from harness.data.importers.base import RawDataset
from harness.data.importers.files import (
    Listing,
    account_for_others,
    find_lists,
    is_ignored,
    locate,
    read_files,
    relative,
    split_by_lists,
    walk,
)
from harness.data.importers.labels import Labels, of_bits, of_cells
from harness.data.importers.options import ImportOptions
from harness.data.schema import Split
from harness.data.summary import Account, listed
from harness.errors import BenchError
from harness.files import check_regular, file_sha256

NAME = "table"
DESCRIPTION = "a CSV file of labels beside its images (or the folder that holds both)"
USES = frozenset(
    {"size", "channels", "bit_depth", "window", "task", "classes", "labels_csv", "delimiter"}
    | {"test_list", "file_column", "label_columns", "label_separator", "group_column", "no_group"}
    | {"split_column", "loose_names", "allow_missing", "ignore"}
)
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Row = dict[str, str]


def recognises(path: Path) -> bool:
    """A CSV file, or a folder with exactly one CSV file in it."""
    if path.is_dir():
        return len(_tables(path)) == 1
    return path.suffix.lower() in (".csv", ".tsv")


@dataclass(frozen=True)
class _Columns:
    """Which column is what."""

    file: str
    labels: list[str]
    group: str | None
    split: str | None


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read the table and the images that it names.

    Images are looked for beside the table, in ``images/``, then in all folders below, see
    :func:`harness.data.importers.files.locate`.

    Raises:
        BenchError: unknown columns, rows of the wrong length, missing images, unknown splits, one
            image for two rows.
        AmbiguousError: several columns that could be meant, cells that may hold several labels or
            none, columns that look like patients or splits but are not named as such.
    """
    table = _find_table(path, options)
    account = options.account(table)
    root = path if path.is_dir() else path.parent
    header, rows = _read(table, options, account)
    columns = _choose_columns(header, rows, options, account)
    names = [row[columns.file].strip() for row in rows]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise BenchError(
            f"{table}: {printable(twice[0])!r} stands in two rows of column {columns.file!r}"
            + (f" ({len(twice)} such names)" if len(twice) > 1 else "")
        )
    labels = _read_labels(rows, columns.labels, options, account)
    listing = walk(root, account, options.ignore)
    files = _find_images(table, root, listing, names, options, account)
    kept = _usable(files, labels, names, account, options, table)
    images, whole, entry = read_files(
        root, [file for row in kept if (file := files[row]) is not None], options, account
    )
    kept = [kept[index] for index in whole]
    _account_for_images(listing, [file for file in files if file is not None], account)
    names = [names[row] for row in kept]
    members, note, lists = _members(
        table, root, names, [rows[row] for row in kept], columns.split, options, account
    )
    account_for_others(listing, account, [table, *lists])
    account.used["rows"] = len(kept)
    split = Split(
        images,
        labels.values[kept],
        _groups(rows, kept, columns.group, account),
        list(map(printable, names)),
    )
    return RawDataset(
        task=labels.task,
        classes=labels.classes,
        splits={name: split.take(np.array(indices)) for name, indices in members.items()},
        source=[
            *({"file": f.name, "sha256": file_sha256(f)} for f in (table, *lists)),
            entry,
        ],
        split_note=note,
        summary=account.summary(),
    )


# The table --------------------------------------------------------------------------------------


def _tables(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in (".csv", ".tsv") and not entry.name.startswith(".")
    )


def _find_table(path: Path, options: ImportOptions) -> Path:
    if options.labels_csv is not None:
        return options.labels_csv
    if not path.is_dir():
        return path
    tables = [file for file in _tables(path) if not is_ignored(file.name, options.ignore)]
    if len(tables) != 1:
        names = f" ({listed(file.name for file in tables)})" if tables else ""
        raise BenchError(
            f"{path}: {len(tables)} CSV files in this folder{names}; pass --labels-csv FILE"
        )
    return tables[0]


def _read(table: Path, options: ImportOptions, account: Account) -> tuple[list[str], list[Row]]:
    """The header and the rows; every row has a value for every column."""
    try:
        check_regular(table)
        with table.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = options.delimiter or _delimiter(stream.readline(), account)
            stream.seek(0)
            lines = csv.reader(stream, delimiter=delimiter)
            header = [name.strip() for name in next(lines, [])]
            rows: list[Row] = []
            for values in lines:
                if not any(value.strip() for value in values):
                    continue
                if len(values) != len(header):
                    raise BenchError(
                        f"{table}: line {lines.line_num} has {len(values)} values, "
                        f"but there are {len(header)} columns"
                    )
                rows.append(dict(zip(header, values, strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(
            f"{table}: not a CSV file in UTF-8 ({error}); save it with that encoding"
        ) from error
    except OSError as error:
        raise BenchError(f"{table}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise BenchError(f"{table}: no rows below the header")
    twice = [name for name, times in Counter(header).items() if times > 1 and name]
    if twice:
        raise BenchError(f"{table}: several columns have the name {twice[0]!r}")
    account.found |= {"rows": len(rows), "columns": len(header)}
    return header, rows


def _delimiter(first: str, account: Account) -> str:
    """What separates the columns, by the header: a comma unless there is none."""
    if "," in first:
        return ","
    for sign, word in _DELIMITERS.items():
        if sign in first:
            shown = "'\\t'" if sign == "\t" else repr(sign)
            account.choose(
                f"the columns seem to be separated by {word} ({shown}) instead of commas",
                f"--delimiter {shown}",
                f"--delimiter {shown}",
            )
            return sign
    return ","


# Columns ----------------------------------------------------------------------------------------


def _choose_columns(
    header: Sequence[str], rows: Sequence[Row], options: ImportOptions, account: Account
) -> _Columns:
    def column(asked: str | None, usual: Sequence[str], option: str) -> str | None:
        return _column(header, rows, asked, usual, option, options, account)

    file = column(options.file_column, naming.FILE, "--file-column")
    if file is None:
        raise BenchError(
            f"{account.where}: no column of file names among {listed(header, limit=20)}; "
            "pass --file-column"
        )
    group = (
        None if options.no_group else column(options.group_column, naming.GROUP, "--group-column")
    )
    split = column(options.split_column, naming.SPLIT, "--split-column")
    taken = {file, group, split}
    labels = _label_columns(header, rows, taken, options, account)
    unused = [
        name
        for name in header
        if name not in {*taken, *labels} and not is_ignored(name, options.ignore)
    ]
    if group is None and not options.no_group:
        group = _perhaps_group(rows, unused, account)
    if split is None and options.test_list is None:
        split = _perhaps_split(rows, unused, account)
    if options.no_group:
        account.decide("no column says whom an image is of (--no-group)")
    rest = [name for name in header if name not in {file, group, split, *labels}]
    account.leave_out("columns", "not needed", rest)
    account.used["columns"] = len(header) - len(rest)
    account.decide(f"files: column {file!r}; labels: {_quoted(labels)}")
    if group is not None:
        account.decide(f"all images of one {group!r} stay in one split")
    return _Columns(file, labels, group, split)


def _quoted(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} " + listed(map(repr, names), limit=20)


def _column(
    header: Sequence[str],
    rows: Sequence[Row],
    asked: str | None,
    usual: Sequence[str],
    option: str,
    options: ImportOptions,
    account: Account,
) -> str | None:
    """The column asked for, else the one with a usual name, else None."""
    if asked is not None:
        if asked in header:
            return asked
        same = [name for name in header if naming.normal(name) == naming.normal(asked)]
        if len(same) == 1 and same[0]:
            return same[0]
        raise BenchError(
            f"{account.where}: {option} {asked!r}: no such column; "
            f"there are {listed(header, limit=20)}"
        )
    found = [
        name for name in naming.matching(header, usual) if not is_ignored(name, options.ignore)
    ]
    if not found:
        return None
    first, *others = found
    values = [row[first] for row in rows]
    others = [
        name for name in others if not naming.same_partition(values, [row[name] for row in rows])
    ]
    if others:
        account.choose(
            f"columns {listed(map(repr, [first, *others]))} could each be meant by {option}",
            f"{option} {first!r} or {option} {others[0]!r}",
            f"{option} {first!r}",
        )
    return first


def _perhaps_group(rows: Sequence[Row], unused: Sequence[str], account: Account) -> str | None:
    """An unused column that may say whom an image is of: it needs a word."""
    for name in unused:
        if naming.looks_like_identifier(name, [row[name] for row in rows]):
            account.choose(
                f"column {name!r} has repeated values and looks like an identifier; images of one "
                "patient must stay in one split",
                f"--group-column {name!r} or --no-group",
                f"--group-column {name!r}",
            )
            return name
    return None


def _perhaps_split(rows: Sequence[Row], unused: Sequence[str], account: Account) -> str | None:
    """An unused column whose values are names of splits: it needs a word."""
    for name in unused:
        said = {naming.split_of(row[name]) for row in rows}
        if None not in said and len(said) > 1:
            account.choose(
                f"column {name!r} holds names of splits",
                f"--split-column {name!r} or --ignore {name!r}",
                f"--split-column {name!r}",
            )
            return name
    return None


def _label_columns(
    header: Sequence[str],
    rows: Sequence[Row],
    taken: set[str | None],
    options: ImportOptions,
    account: Account,
) -> list[str]:
    if options.label_columns:
        chosen = [
            _column(header, rows, name, (), "--label-column", options, account) or name
            for name in options.label_columns
        ]
        if len(set(chosen)) < len(chosen):
            raise BenchError(f"{account.where}: --label-column names one column twice")
        return chosen
    rest = [name for name in header if name and name not in taken]
    usual = _column(rest, rows, None, naming.LABEL, "--label-column", options, account)
    if usual is not None:
        return [usual]
    bits = [
        name
        for name in rest
        if not is_ignored(name, options.ignore)
        and all(of_bits(row[name]) is not None for row in rows)
    ]
    if options.classes and set(options.classes) <= set(bits):
        return list(options.classes)
    if bits:
        account.choose(
            f"columns {listed(map(repr, bits), limit=20)} hold 0 and 1 and may all be labels",
            "--label-column once for each label, or --classes with the names of all",
            "all of them are labels",
        )
        return bits
    raise BenchError(
        f"{account.where}: no column of labels among {listed(header, limit=20)}; pass "
        "--label-column (once for a column of names, several times for 0/1 columns)"
    )


def _read_labels(
    rows: Sequence[Row], columns: Sequence[str], options: ImportOptions, account: Account
) -> Labels:
    if len(columns) > 1:
        return _labels_of_bits(rows, columns, options, account)
    return of_cells([row[columns[0]] for row in rows], columns[0], options, account)


def _labels_of_bits(
    rows: Sequence[Row], columns: Sequence[str], options: ImportOptions, account: Account
) -> Labels:
    """Labels in one 0/1 column each; ``--classes`` gives their order, by name."""
    table = account.where
    if options.classes is not None:
        if set(options.classes) != set(columns) or len(options.classes) != len(columns):
            raise BenchError(
                f"{table}: --classes must name the columns of labels, "
                f"{listed(columns, limit=20)}, in any order; pass --label-column to choose columns"
            )
        columns = options.classes
    values = np.zeros((len(rows), len(columns)), dtype=np.uint8)
    for number, row in enumerate(rows):
        for position, name in enumerate(columns):
            bit = of_bits(row[name])
            if bit is None:
                raise BenchError(
                    f"{table}: row {number + 1}: {row[name].strip()!r} in a 0/1 column of labels "
                    f"({name!r})"
                )
            values[number, position] = bit
    return Labels.of_columns(values, tuple(columns), options.task, account)


# Images, groups, splits -------------------------------------------------------------------------


def _find_images(
    table: Path,
    root: Path,
    listing: Listing,
    names: Sequence[str],
    options: ImportOptions,
    account: Account,
) -> list[Path | None]:
    """The file of each row; None only where images may be missing."""
    folders = list(dict.fromkeys([root, root / "images", table.parent, table.parent / "images"]))
    found = locate(names, folders, listing, options.loose_names, account)
    missing = [row for row, file in enumerate(found.files) if file is None]
    files = list(found.files)
    if missing and found.hints and not options.allow_missing:
        hint = listed(
            f"{printable(names[row])!r} may be {printable(listing.name(file))!r}"
            for row, file in found.hints.items()
        )
        account.choose(
            f"{len(missing)} of {len(names)} images are not under {root}, but {hint}",
            "--loose-names to accept such matches, or --allow-missing to leave the rows out",
            "--loose-names",
        )
        files = [found.hints.get(row) if file is None else file for row, file in enumerate(files)]
        missing = [row for row, file in enumerate(files) if file is None]
    if missing and not options.allow_missing:
        raise BenchError(
            f"{table}: {len(missing)} of {len(names)} images are not under {root} "
            f"({listed(repr(names[row]) for row in missing)}); where the table lies elsewhere, "
            "give the folder of the images as PATH and the table with --labels-csv; or pass "
            "--allow-missing to leave the rows out"
        )
    account.leave_out("rows", "image missing", [names[row] for row in missing])
    _check_inside([root, table.parent], files, account)
    _check_once(table, names, files)
    return files


def _check_inside(folders: Sequence[Path], files: Sequence[Path | None], account: Account) -> None:
    """Stop where a name leads out of ``folders``, by ``..`` or from the root of the disk.

    A table of somebody else could otherwise name any image on this machine.
    """
    inside = [os.path.abspath(folder) for folder in folders]
    outside = [
        file
        for file in files
        if file is not None and not any(map(Path(os.path.abspath(file)).is_relative_to, inside))
    ]
    if outside:
        account.choose(
            f"the table names {plural(len(outside), 'image')} outside {folders[0]} "
            f"({listed(outside)})",
            "the folder that holds all images as PATH, and the table with --labels-csv",
            "they are read",
        )


def _check_once(table: Path, names: Sequence[str], files: Sequence[Path | None]) -> None:
    """Stop where two rows mean one file, under two names."""
    owner: dict[Path, str] = {}
    for name, file in zip(names, files, strict=True):
        if file is None:
            continue
        real = file.resolve()
        if real in owner:
            raise BenchError(
                f"{table}: {printable(owner[real])!r} and {printable(name)!r} are one image, "
                f"{printable(str(file))}; keep one of the rows"
            )
        owner[real] = name


def _usable(
    files: Sequence[Path | None],
    labels: Labels,
    names: Sequence[str],
    account: Account,
    options: ImportOptions,
    table: Path,
) -> list[int]:
    """The rows with an image and a label."""
    unlabelled = {row: reason for row, reason in labels.unusable.items() if files[row] is not None}
    if labels.unusable and not options.allow_missing:
        row, reason = next(iter(labels.unusable.items()))
        more = f" ({len(labels.unusable)} such rows)" if len(labels.unusable) > 1 else ""
        raise BenchError(
            f"{table}: row {row + 1} {reason}{more}; complete it, or pass --allow-missing to leave "
            "such rows out"
        )
    account.leave_out("rows", "no usable label", [names[row] for row in unlabelled])
    kept = [
        row for row, file in enumerate(files) if file is not None and row not in labels.unusable
    ]
    if not kept:
        raise BenchError(f"{table}: none of the {len(names)} rows has both an image and a label")
    return kept


def _account_for_images(listing: Listing, used: Sequence[Path], account: Account) -> None:
    known = {file.resolve() for file in used}
    outside = [file for file in used if not file.is_relative_to(listing.root)]
    if outside:
        account.found["image files elsewhere"] = len(outside)
    rest = [file for file in listing.images if file.resolve() not in known]
    account.leave_out("image files", "no row in the table", list(map(listing.name, rest)))
    unusable = [file for file in listing.unusable if file.resolve() not in known]
    account.leave_out(
        "image files",
        "broken, and no row in the table",
        [relative(f, listing.root) for f in unusable],
    )


def _groups(
    rows: Sequence[Row], kept: Sequence[int], column: str | None, account: Account
) -> npt.NDArray[np.int64] | None:
    if column is None:
        return None
    values, unknown = naming.groups([rows[row][column] for row in kept])
    if values is None:
        account.warn(f"column {column!r} is empty: nothing says whom an image is of")
    elif unknown:
        account.warn(
            f"{plural(len(unknown), 'row', 'has')} no value in column {column!r}: each counts as "
            "a group of its own"
        )
    return values


def _members(
    table: Path,
    root: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    column: str | None,
    options: ImportOptions,
    account: Account,
) -> tuple[dict[str, list[int]], str, list[Path]]:
    """The rows of each split, a note on where the splits come from, and the lists in use."""
    lists = find_lists(root, account) if options.test_list is None else {"test": options.test_list}
    lists = {s: file for s, file in lists.items() if not is_ignored(file.name, options.ignore)}
    if column is not None and lists and options.test_list is None and options.split_column is None:
        files = listed(file.name for file in lists.values())
        account.choose(
            f"both column {column!r} and {files} say which images are for testing",
            f"--split-column {column!r} or --test-list FILE",
            f"--split-column {column!r}",
        )
    if column is not None and options.test_list is None:
        members: dict[str, list[int]] = {"train": []}
        for position, row in enumerate(rows):
            split = naming.split_of(row[column])
            if split is None:
                raise BenchError(
                    f"{table}: {row[column]!r} in column {column!r} is not train, val or test; "
                    f"pass --split-column, or --ignore {column!r}"
                )
            members.setdefault(split, []).append(position)
        if not members["train"]:
            raise BenchError(f"{table}: column {column!r} leaves no training images")
        return members, f"column {column!r} of {table.name}", []
    if not lists:
        return {"train": list(range(len(names)))}, "", []
    members = split_by_lists(root, names, lists, account)
    test = lists.get("test", next(iter(lists.values())))
    return members, f"test as in {test.name}", list(lists.values())

"""A table of labels (CSV) beside image files, such as the NIH chest X-rays.

One row an image. A column names the file; labels stand in one column (several labels joined by
``|``) or in one 0/1 column each; a column of groups (patients) and one of splits may follow. Names
of columns are recognised where they are usual, and can always be said.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.hdf5 import MAX_CLASSES, Split, Task, file_sha256
from harness.data.sources._base import ImportOptions, RawDataset, stored_task
from harness.data.sources._images import is_image, read_images
from harness.data.sources.folder import source_entry
from harness.errors import BenchError

NAME = "table"
DESCRIPTION = "a CSV file of labels beside its images (or the folder that holds both)"
USES = frozenset(
    {"size", "channels", "task", "classes", "labels_csv", "test_list"}
    | {"file_column", "label_columns", "group_column", "split_column"}
)
_FILE = ("file", "filename", "file_name", "image", "image index", "image_path", "path")
_LABEL = ("label", "labels", "class", "finding labels", "target")
_GROUP = ("group", "patient", "patient id", "patient_id", "subject")
_SPLIT = ("split", "set", "subset")
_SPLIT_NAMES = {"training": "train", "valid": "val", "validation": "val", "dev": "val"}
_NEGATIVE = frozenset({"", "no finding"})  # rows without any of the labels
_TEST_LIST = "test_list.txt"  # NIH's name for its official test images

Row = dict[str, str]


def recognises(path: Path) -> bool:
    """A CSV file, or a folder with exactly one CSV file in it."""
    if path.is_dir():
        return len(_tables(path)) == 1
    return path.suffix.lower() == ".csv"


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read the table and the images that it names.

    Images are looked for beside the table, in ``images/`` and then in all folders below. Raises
    BenchError for unknown columns, rows of the wrong length, missing images, unknown splits.
    """
    table = _find_table(path, options.labels_csv)
    root = path if path.is_dir() else path.parent
    header, rows = _read(table)
    file_column = _column(table, header, options.file_column, _FILE, "--file-column")
    if file_column is None:
        raise BenchError(
            f"{table}: no column of file names among {', '.join(header)}; pass --file-column"
        )
    group_column = _column(table, header, options.group_column, _GROUP, "--group-column")
    split_column = _column(table, header, options.split_column, _SPLIT, "--split-column")
    names = [row[file_column].strip() for row in rows]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise BenchError(f"{table}: {twice[0]!r} stands in two rows of column {file_column!r}")
    files = _find_images(table, root, names)
    task, classes, labels = _labels(
        table, rows, _label_columns(table, header, rows, options), options
    )
    groups = None if group_column is None else _groups([row[group_column] for row in rows])
    members, note = _members(table, root, names, rows, split_column, options.test_list)
    images = read_images(files, options.size, options.channels)
    whole = Split(images, labels, groups, names)
    return RawDataset(
        task=task,
        classes=classes,
        splits={name: whole.take(np.array(indices)) for name, indices in members.items()},
        source=[
            {"file": table.name, "sha256": file_sha256(table)},
            source_entry(root, files, options),
        ],
        split_note=note,
    )


def _tables(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() == ".csv" and not entry.name.startswith(".")
    )


def _find_table(path: Path, given: Path | None) -> Path:
    if given is not None:
        return given
    if not path.is_dir():
        return path
    tables = _tables(path)
    if len(tables) != 1:
        raise BenchError(f"{path}: {len(tables)} CSV files in this folder; pass --labels-csv FILE")
    return tables[0]


def _read(table: Path) -> tuple[list[str], list[Row]]:
    """The header and the rows; every row has a value for every column."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [name.strip() for name in next(lines, [])]
            rows: list[Row] = []
            for values in lines:
                if not values:
                    continue
                if len(values) != len(header):
                    raise BenchError(
                        f"{table}: line {lines.line_num} has {len(values)} values, "
                        f"but there are {len(header)} columns"
                    )
                rows.append(dict(zip(header, values, strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{table}: not a CSV file in UTF-8 ({error})") from error
    except OSError as error:
        raise BenchError(f"{table}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise BenchError(f"{table}: no rows below the header")
    return header, rows


def _column(
    table: Path, header: Sequence[str], asked: str | None, usual: Iterable[str], option: str
) -> str | None:
    """The column asked for, else the first with a usual name, else None."""
    if asked is not None:
        if asked not in header:
            raise BenchError(
                f"{table}: {option} {asked!r}: no such column; there are {', '.join(header)}"
            )
        return asked
    by_name = {name.lower(): name for name in reversed(header)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _label_columns(
    table: Path, header: Sequence[str], rows: Sequence[Row], options: ImportOptions
) -> list[str]:
    if options.label_columns:
        for name in options.label_columns:
            _column(table, header, name, (), "--label-column")
        return list(options.label_columns)
    usual = _column(table, header, None, _LABEL, "--label-column")
    if usual is not None:
        return [usual]
    taken = {
        _column(table, header, asked, names, "")
        for asked, names in (
            (options.file_column, _FILE),
            (options.group_column, _GROUP),
            (options.split_column, _SPLIT),
        )
    }
    rest = [name for name in header if name and name not in taken]
    if rest and all(row[name].strip() in ("0", "1") for row in rows for name in rest):
        return rest
    raise BenchError(
        f"{table}: no column of labels among {', '.join(header)}; pass --label-column "
        "(once for a column of names, several times for 0/1 columns)"
    )


def _labels(
    table: Path, rows: Sequence[Row], columns: Sequence[str], options: ImportOptions
) -> tuple[Task, tuple[str, ...], npt.NDArray[np.uint8]]:
    """Task, classes and labels. ``--classes`` says which classes there are, and their order."""
    if len(columns) > 1:
        values = [[row[name].strip() for name in columns] for row in rows]
        for number, line in enumerate(values, start=1):
            bad = [value for value in line if value not in ("0", "1")]
            if bad:
                raise BenchError(f"{table}: row {number}: {bad[0]!r} in a 0/1 column of labels")
        if options.classes is not None and len(options.classes) != len(columns):
            raise BenchError(
                f"{table}: {len(options.classes)} class names for {len(columns)} columns"
            )
        matrix = np.array([[int(value) for value in line] for line in values], dtype=np.uint8)
        return "multilabel", options.classes or tuple(columns), matrix

    texts = [row[columns[0]].strip() for row in rows]
    found_task: Task = "multilabel" if any("|" in text for text in texts) else "multiclass"
    task = stored_task(table, options.task) or found_task
    if task == "multilabel":
        named = [
            [name for name in map(str.strip, text.split("|")) if name.lower() not in _NEGATIVE]
            for text in texts
        ]
    else:
        named = [[text] for text in texts]
        if "" in texts:
            raise BenchError(f"{table}: row {texts.index('') + 1} has no label")
    found = {name for line in named for name in line}
    classes = options.classes or tuple(sorted(found, key=_natural))
    if unknown := sorted(found - set(classes)):
        raise BenchError(f"{table}: label {unknown[0]!r} is not among --classes")
    if len(classes) > MAX_CLASSES:
        raise BenchError(
            f"{table}: {len(classes)} different labels in column {columns[0]!r}; "
            f"at most {MAX_CLASSES} can be classes"
        )
    index = {name: position for position, name in enumerate(classes)}
    if task == "multiclass":
        return task, classes, np.array([index[line[0]] for line in named], dtype=np.uint8)
    matrix = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    for position, line in enumerate(named):
        for name in line:
            matrix[position, index[name]] = 1
    return task, classes, matrix


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by value, then words by letter."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _groups(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Group numbers: the values themselves where all are integers, else their sorted rank."""
    try:
        return np.array([int(text) for text in texts], dtype=np.int64)
    except (ValueError, OverflowError):
        ranks = {text: rank for rank, text in enumerate(sorted(set(texts)))}
        return np.array([ranks[text] for text in texts], dtype=np.int64)


def _find_images(table: Path, root: Path, names: Sequence[str]) -> list[Path]:
    """The path of each image; BenchError that names the first one missing."""
    below: dict[str, list[Path]] | None = None
    files: list[Path] = []
    missing: list[str] = []
    for name in names:
        direct = next(
            (f for f in (root / name, root / "images" / name) if name and f.is_file()), None
        )
        if direct is None:
            if below is None:
                below = {}
                for file in sorted(root.rglob("*")):
                    if is_image(file):
                        below.setdefault(file.name, []).append(file)
            same = below.get(Path(name).name, [])
            if len(same) > 1:
                raise BenchError(f"{table}: {name!r} could be {same[0]} or {same[1]}; name folders")
            direct = same[0] if same else None
        if direct is None:
            missing.append(name)
        else:
            files.append(direct)
    if missing:
        raise BenchError(
            f"{table}: {len(missing)} of {len(names)} images are not under {root}, "
            f"the first is {missing[0]!r}"
        )
    return files


def _members(
    table: Path,
    root: Path,
    names: Sequence[str],
    rows: Sequence[Row],
    column: str | None,
    test_list: Path | None,
) -> tuple[dict[str, list[int]], str]:
    """The rows of each split, and a note on where the splits come from."""
    if column is not None and test_list is None:
        members: dict[str, list[int]] = {"train": []}
        for position, row in enumerate(rows):
            said = row[column].strip().lower()
            split = _SPLIT_NAMES.get(said, said)
            if split not in ("train", "val", "test"):
                raise BenchError(
                    f"{table}: {row[column]!r} in column {column!r} is not train, val or test"
                )
            members.setdefault(split, []).append(position)
        if not members["train"]:
            raise BenchError(f"{table}: column {column!r} leaves no training images")
        return members, f"column {column!r} of {table.name}"
    beside = root / _TEST_LIST
    listed = test_list or (beside if beside.is_file() else None)
    if listed is None:
        return {"train": list(range(len(names)))}, ""
    try:
        test = set(map(str.strip, listed.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{listed}: cannot be read as a list of file names ({error})") from error
    chosen = {
        "train": [i for i, name in enumerate(names) if name not in test],
        "test": [i for i, name in enumerate(names) if name in test],
    }
    for split, indices in chosen.items():
        if not indices:
            raise BenchError(f"{listed}: leaves no {split} images among the rows of {table.name}")
    return chosen, f"test as in {listed.name}"

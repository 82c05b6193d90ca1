"""NIH's ChestX-ray14 as it is handed out: 112,120 frontal chest X-rays of 30,805 patients.

The folder holds ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``), the images in
``images/`` or in ``images_001/images/`` to ``images_012/images/``, and the official lists
``train_val_list.txt`` and ``test_list.txt``. A part of the set is as good as all of it.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from harness.data import spool
from harness.data.hdf5 import Split, Task, UInt8Array, file_sha256
from harness.data.sources._base import AskedTask, ImportOptions, RawDataset
from harness.data.sources._images import BrokenImageError, image_size, read_grey, transform_note
from harness.errors import BenchError

NAME = "nih"
DESCRIPTION = "NIH's ChestX-ray14 (Data_Entry_2017*.csv beside its images)"
INSTEAD_OF = "table"
USES = frozenset({"size", "task", "views", "limit", "allow_missing"})
LABELS = (  # in NIH's order
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"
VIEWS = ("PA", "AP")
LICENSE = (
    "No restrictions on use; cite Wang et al. 2017, link to the NIH download site, acknowledge "
    "the NIH Clinical Center"
)
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_TEST, _TRAIN_VAL = "test_list.txt", "train_val_list.txt"
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "View Position")
_VAL_FRACTION = 0.1
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Entry:
    """A row of NIH's table. ``labels`` are numbers into LABELS."""

    name: str
    labels: tuple[int, ...]
    patient: int
    view: str


def recognises(path: Path) -> bool:
    """The folder with NIH's table, or that table."""
    if path.is_dir():
        return any((path / name).is_file() for name in _TABLES)
    return path.name in _TABLES


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Decode the images that the table names, in all CPUs; the pixels stay on the disk.

    Images are grey, uint8 (N, 1, H, W). ``options.work`` keeps the pixels of an interrupted import
    until the file is written. Validation images (and test images, where there is no official
    list) are left to be split off by patient.

    Raises BenchError for unknown labels, missing and broken images (unless they may be missing),
    lists that contradict each other.
    """
    if options.work is None:
        raise ValueError("this source needs a folder to work in")
    table = _find_table(path)
    entries = _chosen(table, _read(table), options)
    entries, files, missing = _find_images(table, entries, options)
    height, width = options.size or _first_size(files)
    decoded = spool.decode_all(
        options.work,
        files,
        (1, height, width),
        lambda file, content: read_grey(file, content, options.size)[np.newaxis],
        {"format": NAME, "resampling": "bilinear", "pillow": PIL.__version__},
    )
    _check_broken(path, files, decoded.broken, options.allow_missing)
    kept = np.array([i for i in range(len(files)) if i not in decoded.broken])
    if len(kept) == 0:
        raise BenchError(f"{path}: every one of the {len(files)} image files is broken")
    whole = _labelled([entries[i] for i in kept], decoded.images[kept], options.task)
    members, note, lists = _members(table.parent, whole.id or [])
    left_out = {
        "missing": missing,
        "broken": [files[i].name for i in decoded.broken],
    }
    task, classes = _task(path, options.task)
    return RawDataset(
        task=task,
        classes=classes,
        splits={name: whole.take(indices) for name, indices in members.items()},
        source=[
            *({"file": file.name, "sha256": file_sha256(file)} for file in (table, *lists)),
            {
                "file": f"{table.parent.resolve().name}/",
                "sha256": _digest(whole.id or [], decoded.digests[kept]),
                "note": _note(len(kept), options, left_out),
            },
        ],
        split_note=note,
        val_fraction=_VAL_FRACTION,
        license=LICENSE,
    )


def _find_table(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in _TABLES if (path / name).is_file()), None)
    if found is None:
        raise BenchError(f"{path}: neither {' nor '.join(_TABLES)} is in this folder")
    return found


def _read(table: Path) -> list[Entry]:
    """All rows. The older table has more commas below its head than in it: only names count."""
    numbers = {name: number for number, name in enumerate(LABELS)}
    entries: list[Entry] = []
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [name.strip() for name in next(lines, [])]
            absent = [name for name in _COLUMNS if name not in header]
            if absent:
                raise BenchError(f"{table}: no column {absent[0]!r}; this is not NIH's table")
            places = [header.index(name) for name in _COLUMNS]
            for values in lines:
                if not values:
                    continue
                where = f"{table}: line {lines.line_num}"
                if len(values) <= max(places):
                    raise BenchError(f"{where}: only {len(values)} values")
                name, findings, patient, view = (values[place].strip() for place in places)
                found = [part.strip() for part in findings.split("|")]
                unknown = [part for part in found if part not in numbers and part != NO_FINDING]
                if unknown:
                    raise BenchError(f"{where}: {unknown[0]!r} is none of NIH's 14 labels")
                if not patient.isascii() or not patient.isdecimal() or len(patient) > 18:
                    raise BenchError(f"{where}: Patient ID {patient!r} is not a number")
                labels = tuple(sorted({numbers[part] for part in found if part != NO_FINDING}))
                entries.append(Entry(name, labels, int(patient), view.upper()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{table}: not a CSV file in UTF-8 ({error})") from error
    if not entries:
        raise BenchError(f"{table}: no rows below the header")
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise BenchError(f"{table}: {entry.name!r} stands in two rows")
        seen.add(entry.name)
    return entries


def _chosen(table: Path, entries: list[Entry], options: ImportOptions) -> list[Entry]:
    """The rows of the views that were asked for."""
    _task(table, options.task)
    if options.limit is not None and options.limit < 1:
        raise BenchError(f"--limit {options.limit}: must be at least 1")
    unknown = [view for view in options.views if view not in VIEWS]
    if unknown:
        raise BenchError(f"--views {unknown[0]!r}: must be of {', '.join(VIEWS)}")
    if not options.views:
        return entries
    chosen = [entry for entry in entries if entry.view in options.views]
    if not chosen:
        raise BenchError(f"{table}: no row has the view {' or '.join(options.views)}")
    return chosen


def _task(path: Path, asked: AskedTask | None) -> tuple[Task, tuple[str, ...]]:
    """Task and classes of the file."""
    if asked == "multiclass":
        raise BenchError(f"{path}: --task of --format nih is multilabel (14 labels) or binary")
    return ("multiclass", (NO_FINDING, "Finding")) if asked == "binary" else ("multilabel", LABELS)


def _find_images(
    table: Path, entries: list[Entry], options: ImportOptions
) -> tuple[list[Entry], list[Path], list[str]]:
    """Rows with their image files, and the names of the images that are missing."""
    root = table.parent
    folders = [
        root / "images",
        *sorted(root.glob("images_*")),
        *sorted(root.glob("images_*/images")),
    ]
    there: dict[str, Path] = {}
    for folder in (*folders, root):
        if folder.is_dir():
            with os.scandir(folder) as listing:
                for found in listing:
                    there.setdefault(found.name, folder / found.name)
    if not options.allow_missing:
        entries = entries[: options.limit]
    missing = [entry.name for entry in entries if entry.name not in there]
    if missing and not options.allow_missing:
        raise BenchError(
            f"{root}: {len(missing)} of {len(entries)} images are missing ({_first(missing)}); "
            "add them, or pass --allow-missing to leave them out"
        )
    present = [entry for entry in entries if entry.name in there][: options.limit]
    if not present:
        raise BenchError(
            f"{root}: not one of the {len(entries)} images that {table.name} names is in images/ "
            "or images_001/images/ to images_012/images/"
        )
    return present, [there[entry.name] for entry in present], missing


def _first_size(files: Sequence[Path]) -> tuple[int, int]:
    """The size of the first image that has one."""
    for file in files:
        try:
            return image_size(file)
        except BrokenImageError:
            continue
    raise BenchError(f"{files[0].parent}: every one of the {len(files)} image files is broken")


def _check_broken(path: Path, files: list[Path], broken: dict[int, str], allowed: bool) -> None:
    if broken and not allowed:
        named = [f"{files[index].name}: {reason}" for index, reason in broken.items()]
        raise BenchError(
            f"{path}: {len(broken)} of {len(files)} image files are broken ({_first(named)}); "
            "replace them, or pass --allow-missing to leave them out (what is decoded is kept)"
        )


def _first(names: Sequence[str]) -> str:
    more = "" if len(names) <= _SHOWN else ", ..."
    return ", ".join(names[:_SHOWN]) + more


def _labelled(entries: Sequence[Entry], images: spool.Rows, asked: AskedTask | None) -> Split:
    """Images with labels, patients and file names; the labels are uint8 (N, 14), or (N,) binary."""
    labels = np.zeros((len(entries), len(LABELS)), dtype=np.uint8)
    for row, entry in enumerate(entries):
        labels[row, list(entry.labels)] = 1
    return Split(
        images=images,
        labels=labels.max(axis=1) if asked == "binary" else labels,
        group=np.array([entry.patient for entry in entries], dtype=np.int64),
        id=[entry.name for entry in entries],
    )


def _members(
    root: Path, names: Sequence[str]
) -> tuple[dict[str, npt.NDArray[np.intp]], str, list[Path]]:
    """The rows of each split, a note on where the splits come from, and the lists in use."""
    lists = [root / name for name in (_TEST, _TRAIN_VAL) if (root / name).is_file()]
    if not lists:
        return {"train": np.arange(len(names))}, "no official list", []
    listed = {file.name: _read_list(file) for file in lists}
    test, train = listed.get(_TEST), listed.get(_TRAIN_VAL)
    if test is None:
        test = set(names) - (train or set())
    elif train is not None:
        for fault, wrong in (
            (f"both {_TEST} and {_TRAIN_VAL}", [n for n in names if n in test and n in train]),
            (
                f"neither {_TEST} nor {_TRAIN_VAL}",
                [n for n in names if n not in test and n not in train],
            ),
        ):
            if wrong:
                raise BenchError(f"{root}: {len(wrong)} images are in {fault} ({_first(wrong)})")
    inside = np.array([name in test for name in names])
    members = {"train": np.flatnonzero(~inside), "test": np.flatnonzero(inside)}
    for split, indices in members.items():
        if len(indices) == 0:
            raise BenchError(
                f"{lists[0]}: leaves no {split} images among the {len(names)} that were chosen; "
                "raise --limit, or move the lists away"
            )
    return members, f"test as in NIH's {lists[0].name}", lists


def _read_list(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: cannot be read as a list of file names ({error})") from error


def _digest(names: Iterable[str], digests: UInt8Array) -> str:
    """The checksum of the list that ``sha256sum`` would print, in the order of the table."""
    whole = hashlib.sha256()
    for name, digest in zip(names, digests, strict=True):
        whole.update(f"{digest.tobytes().hex()}  {name}\n".encode())
    return whole.hexdigest()


def _note(count: int, options: ImportOptions, left_out: dict[str, list[str]]) -> str:
    parts = [f"{count} image files; SHA-256 of the lines 'sha256  name'"]
    if options.views:
        parts.append(f"views {', '.join(options.views)}")
    if options.limit is not None:
        parts.append(f"the first {options.limit}")
    parts += [
        f"left out {len(names)} {why} ({_first(names)})" for why, names in left_out.items() if names
    ]
    if options.size is not None:
        parts.append(transform_note(options.size))
    return "; ".join(parts)

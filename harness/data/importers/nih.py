"""NIH's ChestX-ray14 as it is handed out: 112,120 frontal chest X-rays of 30,805 patients.

The folder holds ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``), the images in
``images/`` or in ``images_001/images/`` to ``images_012/images/``, and the official lists
``train_val_list.txt`` and ``test_list.txt``. A part of the set is as good as all of it. Copies at
224 pixels have ``images-224/images-224/`` and ``test_list_NIH.txt``.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from harness.console import plural, printable
from harness.data.importers import spool
from harness.data.importers.base import RawDataset
from harness.data.importers.files import find_lists, is_ignored, split_by_lists
from harness.data.importers.images import BrokenImageError, image_size, read_grey, transform_note
from harness.data.importers.naming import is_negative
from harness.data.importers.options import AskedTask, ImportOptions
from harness.data.schema import Split, Task, UInt8Array
from harness.data.summary import Account, AmbiguousError, listed
from harness.errors import BenchError
from harness.files import file_sha256

NAME = "nih"
DESCRIPTION = "NIH's ChestX-ray14 (Data_Entry_2017*.csv beside its images)"
INSTEAD_OF = "table"
USES = frozenset(
    {"size", "bit_depth", "window", "task", "views", "limit", "allow_missing", "ignore"}
    | {"test_list"}
)
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
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "View Position")
_VAL_FRACTION = 0.1


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
    account = options.account(path)
    table = _find_table(path)
    rows = _read(table, options, account)
    entries = _chosen(table, rows, options)
    _leave_out(rows, entries, "of another view (--views)", account)
    chosen = entries
    entries, files, missing = _find_images(table, entries, options, account)
    account.leave_out("rows", "image missing", missing)
    absent = set(missing)
    present = [entry for entry in chosen if entry.name not in absent]
    _leave_out(present, entries, f"after the first {options.limit} (--limit)", account)
    height, width = options.size or _first_size(files)
    intensity = options.intensity
    rule = {"intensity": intensity.text} if intensity.given else {}
    try:
        decoded = spool.decode_all(
            options.work,
            files,
            (1, height, width),
            lambda file, content: read_grey(file, content, options.size, intensity)[np.newaxis],
            {"format": NAME, "resampling": "bilinear", "pillow": PIL.__version__} | rule,
        )
    except AmbiguousError:
        shutil.rmtree(options.work)  # what decides changes the job, so nothing can be kept
        raise
    _check_broken(path, files, decoded.broken, options.allow_missing)
    kept = np.array([i for i in range(len(files)) if i not in decoded.broken])
    if len(kept) == 0:
        raise BenchError(f"{path}: every one of the {len(files)} image files is broken")
    whole = _labelled([entries[i] for i in kept], decoded.images[kept], options.task)
    members, note, lists = _members(table.parent, whole.id or [], options, account)
    broken = [files[i].name for i in decoded.broken]
    account.leave_out("image files", "broken", broken)
    account.used |= {"rows": len(kept), "images": len(kept)}
    account.decide("all images of one 'Patient ID' stay in one split")
    task, classes = _task(path, options.task)
    return RawDataset(
        task=task,
        classes=classes,
        splits={name: whole.take(np.array(indices)) for name, indices in members.items()},
        source=[
            *({"file": file.name, "sha256": file_sha256(file)} for file in (table, *lists)),
            {
                "file": f"{printable(table.parent.resolve().name)}/",
                "sha256": _digest(whole.id or [], decoded.digests[kept]),
                "note": _note(len(kept), options, {"missing": missing, "broken": broken}),
            },
        ],
        split_note=note,
        val_fraction=_VAL_FRACTION,
        license=LICENSE,
        summary=account.summary(),
    )


def _leave_out(before: list[Entry], after: list[Entry], why: str, account: Account) -> None:
    kept = {entry.name for entry in after}
    account.leave_out("rows", why, [entry.name for entry in before if entry.name not in kept])


def _find_table(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in _TABLES if (path / name).is_file()), None)
    if found is None:
        raise BenchError(f"{path}: neither {' nor '.join(_TABLES)} is in this folder")
    return found


def _read(table: Path, options: ImportOptions, account: Account) -> list[Entry]:
    """The rows with usable labels.

    The older table has more commas below its head than in it: only names of columns count.
    """
    contradictions: list[str] = []
    numbers = {name: number for number, name in enumerate(LABELS)}
    entries: list[Entry] = []
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [name.strip() for name in next(lines, [])]
            absent = [name for name in _COLUMNS if name not in header]
            if absent:
                raise BenchError(f"{table}: no column {absent[0]!r}; this is not NIH's table")
            columns = [header.index(name) for name in _COLUMNS]
            for values in lines:
                if not values:
                    continue
                where = f"{table}: line {lines.line_num}"
                if len(values) <= max(columns):
                    raise BenchError(f"{where}: only {len(values)} values")
                name, findings, patient, view = (values[column].strip() for column in columns)
                found = [part.strip() for part in findings.split("|")]
                unknown = [part for part in found if part not in numbers and part != NO_FINDING]
                if unknown:
                    raise BenchError(f"{where}: {unknown[0]!r} is none of NIH's 14 labels")
                if len(found) > 1 and any(map(is_negative, found)):
                    if not options.allow_missing:
                        raise BenchError(
                            f"{where}: {findings!r} says both that there is a finding and that "
                            "there is none; correct it, or pass --allow-missing to leave such "
                            "rows out"
                        )
                    contradictions.append(name)
                    continue
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
    account.found["rows"] = len(entries) + len(contradictions)
    account.leave_out("rows", "a finding and no finding at once", contradictions)
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
    table: Path, entries: list[Entry], options: ImportOptions, account: Account
) -> tuple[list[Entry], list[Path], list[str]]:
    """Rows with their image files, and the names of the images that are missing."""
    root = table.parent
    there: dict[str, Path] = {}
    twice: list[str] = []
    folders = _image_folders(root, options)
    for folder in folders:
        with os.scandir(folder) as listing:
            for found in listing:
                if not found.is_file():  # a broken link or a pipe is no image
                    continue
                if there.setdefault(found.name, folder / found.name) != folder / found.name:
                    twice.append(found.name)
    if not options.allow_missing:
        entries = entries[: options.limit]
    names = {entry.name for entry in entries}
    if twice := sorted(names & set(twice)):
        account.choose(
            f"{plural(len(twice), 'image', 'is')} in two folders ({listed(twice)}), "
            f"the first in {there[twice[0]].parent}",
            "--ignore FOLDER to leave one of them out",
            "the first is used",
        )
    missing = [entry.name for entry in entries if entry.name not in there]
    searched = listed((f.relative_to(root).as_posix() + "/" for f in folders), limit=15)
    present = [entry for entry in entries if entry.name in there][: options.limit]
    if not present:
        raise BenchError(
            f"{root}: not one of the {len(entries)} images that {table.name} names is in "
            f"{searched}; {_elsewhere(root, names)}"
        )
    if missing and not options.allow_missing:
        raise BenchError(
            f"{root}: {len(missing)} of {len(entries)} images are missing ({listed(missing)}) from "
            f"{searched}; add them, or pass --allow-missing to leave them out"
        )
    rest = set(there) - names - {table.name}
    images = sorted(name for name in rest if name.lower().endswith(".png"))
    account.found["image files"] = len(present) + len(images)
    account.leave_out("image files", "no row in the table, or its row is left out", images)
    return present, [there[entry.name] for entry in present], missing


def _image_folders(root: Path, options: ImportOptions) -> list[Path]:
    """Where images are looked for: images*/, images*/images*/ and the folder of the table."""
    found = [
        root / "images",
        *sorted(root.glob("images_*")),
        *sorted(root.glob("images*")),
        *sorted(root.glob("images_*/images")),
        *sorted(root.glob("images*/images*")),
        root,
    ]
    return [
        folder
        for folder in dict.fromkeys(found)
        if folder.is_dir() and not is_ignored(folder.relative_to(root).as_posix(), options.ignore)
    ]


def _elsewhere(root: Path, names: set[str]) -> str:
    """Where these images are below ``root`` instead, in words."""
    for folder, _folders, files in os.walk(root):
        if found := names & set(files):
            return (
                f"{len(found)} of them are in {folder}/: move that folder to {root / 'images'}, or "
                f"link it there"
            )
    return "put them into one of these"


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
            f"{path}: {len(broken)} of {len(files)} image files are broken ({listed(named)}); "
            "replace them, or pass --allow-missing to leave them out (what is decoded is kept)"
        )


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
    root: Path, names: Sequence[str], options: ImportOptions, account: Account
) -> tuple[dict[str, list[int]], str, list[Path]]:
    """The rows of each split, a note on where the splits come from, and the lists in use."""
    lists = find_lists(root, account) if options.test_list is None else {"test": options.test_list}
    lists = {
        split: lists[split]
        for split in ("test", "trainval", "train", "val")
        if split in lists and not is_ignored(lists[split].name, options.ignore)
    }
    if not lists:
        return {"train": list(range(len(names)))}, "no official list", []
    members = split_by_lists(root, names, lists, account)
    first = next(iter(lists.values()))
    return members, f"test as in NIH's {first.name}", list(lists.values())


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
        f"left out {len(names)} {why} ({listed(names)})" for why, names in left_out.items() if names
    ]
    if done := transform_note(options.size, options.intensity):
        parts.append(done)
    return "; ".join(parts)

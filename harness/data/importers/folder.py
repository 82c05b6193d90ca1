"""A folder per class, inside folders of splits or not.

``DIR/class/*.png``, ``DIR/{train,val,test}/class/*.png`` or ``DIR/class/{train,val,test}/*.png``.
Folders inside a class belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.console import printable
from harness.data.importers.base import RawDataset, in_order
from harness.data.importers.files import (
    Listing,
    account_for_others,
    read_files,
    refuse_unusable,
    walk,
)
from harness.data.importers.images import is_image
from harness.data.importers.naming import natural, split_of
from harness.data.importers.options import ImportOptions
from harness.data.schema import MAX_CLASSES, SPLITS, Split
from harness.data.summary import Account, listed
from harness.errors import BenchError

NAME = "folder"
DESCRIPTION = "a folder with one folder of images per class (inside train/, val/, test/ or not)"
USES = frozenset(
    {"size", "channels", "bit_depth", "window", "classes", "class_folders"}
    | {"allow_missing", "ignore"}
)


def recognises(path: Path) -> bool:
    """A folder with two or more folders of images in it, or with train/ that holds such folders."""
    if not path.is_dir():
        return False
    folders = _folders(path)
    train = [folder for folder in folders if split_of(folder.name) == "train"]
    inside = [below for folder in train for below in _folders(folder)] if train else folders
    if sum(any(map(is_image, folder.iterdir())) for folder in inside) >= 2:
        return True
    if any(entry.suffix.lower() == ".csv" for entry in path.iterdir()):
        return False  # then the folders of images are those of a table
    return len(inside) >= 2 and all(
        any(is_image(file) for below in _folders(folder) for file in below.iterdir())
        for folder in inside
    )


def _folders(root: Path) -> list[Path]:
    return sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read every image; the classes are the names of the folders, in natural order (2 before 10).

    Raises:
        BenchError: broken images, classes without images, classes that training does not know.
        AmbiguousError: folders beside those of the splits, two folders for one split, folders that
            recur inside several classes.
    """
    if not path.is_dir():
        raise BenchError(f"{path}: not a folder; expected a folder with one folder per class")
    account = options.account(path)
    listing = walk(path, account, options.ignore)
    layout = _Layout(listing, options, account)
    refuse_unusable(
        path,
        {listing.name(file): reason for file, reason in listing.unusable.items()},
        len(listing.images) + len(listing.unusable),
        account,
        options.allow_missing,
    )
    owner = {file: owned for file in listing.images if (owned := layout.split_class(file))}
    outside = [listing.name(file) for file in listing.images if file not in owner]
    account.leave_out("image files", "outside the class folders", outside)
    account_for_others(listing, account)
    files = list(owner)
    found = {name for split, name in owner.values() if split == "train"}
    _check_classes(path, found, layout, owner)
    order, classes = in_order(path, sorted(found), options.classes, account)
    rank = {name: position for position, name in enumerate(order)}
    files.sort(key=lambda file: (SPLITS.index(owner[file][0]), rank[owner[file][1]], file))
    images, kept, entry = read_files(path, files, options, account)
    files = [files[index] for index in kept]
    of_split = np.array([SPLITS.index(owner[file][0]) for file in files])
    whole = Split(
        images,
        np.array([rank[owner[file][1]] for file in files], dtype=np.uint8),
        id=[printable(listing.name(file)) for file in files],
    )
    account.used["classes"] = len(classes)
    splits = {
        name: whole.take(np.flatnonzero(of_split == position))
        for position, name in enumerate(SPLITS)
        if (of_split == position).any()
    }
    return RawDataset(
        task="multiclass",
        classes=classes,
        splits=splits,
        source=[entry],
        split_note=layout.note,
        summary=account.summary(),
    )


def _check_classes(
    path: Path, found: set[str], layout: _Layout, owner: dict[Path, tuple[str, str]]
) -> None:
    if not 2 <= len(found) <= MAX_CLASSES:
        inner = f" ({listed(sorted(found))})" if found else ""
        raise BenchError(
            f"{path}: {len(found)} class folders{inner}; expected 2 to {MAX_CLASSES}, each with "
            "the images of one class"
        )
    for file, (_split, name) in owner.items():
        if name not in found:
            folder = layout.class_folder(file)
            raise BenchError(f"{folder}: a class that is not in the training images")
    filled = set(map(layout.class_folder, owner))
    for folder in layout.class_folders:
        if folder not in filled:
            raise BenchError(f"{folder}: no images in this class folder; fill or remove it")


class _Layout:
    """Which part of a path is the split and which the class."""

    def __init__(self, listing: Listing, options: ImportOptions, account: Account) -> None:
        self._listing = listing
        self._account = account
        self.note = ""
        parts = [Path(listing.name(file)).parts for file in listing.images]
        top = sorted({line[0] for line in parts if len(line) > 1}, key=natural)
        tops = {folder.name for folder in listing.folders if folder.parent == listing.root}
        splits = {name: split_of(name) for name in sorted(tops)}
        self._unused: set[str] = set()
        self._split_at: int | None = None
        self._class_at = 0
        if "train" in splits.values():
            self._split_at, self._class_at = 0, 1
            self._beside_splits(splits, top)
        elif any(splits.values()):
            self._no_training(splits, top)
        elif self._splits_inside(parts):
            self._split_at = 1
        if self._split_at is not None:
            names = sorted({line[self._split_at] for line in parts if len(line) > 2})
            self.note = f"as in the folders {', '.join(n for n in names if split_of(n))}"
        self._class_at += self._nested(parts, options.class_folders)
        depth = self._class_at + 1
        self.class_folders = [
            folder
            for folder in listing.folders
            if len(line := Path(listing.name(folder)).parts) == depth
            and line[0] not in self._unused
            and options.class_folders is None
            and not (self._split_at == 1 and split_of(line[-1]))
        ]

    def split_class(self, file: Path) -> tuple[str, str] | None:
        """Split and class of an image; None where it lies outside the class folders."""
        parts = Path(self._listing.name(file)).parts
        if len(parts) < self._class_at + 2 or parts[0] in self._unused:
            return None
        if self._split_at is None:
            return "train", parts[self._class_at]
        if len(parts) < self._split_at + 2:
            return None
        split = split_of(parts[self._split_at])
        return None if split is None else (split, parts[self._class_at])

    def class_folder(self, file: Path) -> Path:
        """The folder of the class that ``file`` lies in, however deep."""
        parts = Path(self._listing.name(file)).parts
        return self._listing.root.joinpath(*parts[: self._class_at + 1])

    def _beside_splits(self, splits: dict[str, str | None], top: Sequence[str]) -> None:
        for split in SPLITS:
            same = [name for name, of in splits.items() if of == split and name in top]
            if len(same) > 1:
                self._account.choose(
                    f"{' and '.join(f'{name}/' for name in same)} are both usual names of {split}",
                    f"--ignore {same[1]} (or {same[0]})",
                    "both are used together",
                )
        others = [name for name in top if splits.get(name) is None]
        if others:
            self._account.choose(
                f"{listed(f'{name}/' for name in others)} beside the folders of the splits",
                f"--ignore {others[0]}" + " --ignore ..." * (len(others) > 1),
                "left out",
            )
            self._unused |= set(others)

    def _no_training(self, splits: dict[str, str | None], top: Sequence[str]) -> None:
        named = [f"{name}/" for name, split in splits.items() if split]
        classes = [name for name in top if splits.get(name) is None]
        if not classes:
            raise BenchError(
                f"{self._listing.root}: there is {' and '.join(named)} but no train/; "
                "call the folder of the training images so"
            )
        self._account.choose(
            f"{' and '.join(named)} beside {listed(f'{name}/' for name in classes)} may be a split "
            "or a class",
            f"--ignore {named[0].rstrip('/')}, or put the other folders into train/",
            "left out",
        )
        self._unused |= {name for name, split in splits.items() if split}

    @staticmethod
    def _splits_inside(parts: Sequence[tuple[str, ...]]) -> bool:
        """Whether it is ``class/{train,val,test}/``, in every class."""
        inside = {line[1] for line in parts if len(line) > 2}
        return (
            all(len(line) > 2 for line in parts if len(line) > 1)
            and "train" in map(split_of, inside)
            and all(map(split_of, inside))
        )

    def _nested(self, parts: Sequence[tuple[str, ...]], asked: str | None) -> int:
        """0 where the outer folders are the classes, 1 where the inner ones are."""
        if asked is not None:
            self._account.decide(f"the {asked} folders are the classes (--class-folders)")
            return int(asked == "inner")
        below = self._class_at + (2 if self._split_at == 1 else 1)
        inner: dict[str, set[str]] = {}
        for line in parts:
            if len(line) > below + 1 and line[0] not in self._unused:
                inner.setdefault(line[below], set()).add(line[self._class_at])
        again = sorted(name for name, outer in inner.items() if len(outer) > 1)
        if again:
            self._account.choose(
                f"folders {listed(again)} recur inside the class folders, so either level may be "
                "the classes",
                "--class-folders outer or --class-folders inner",
                "--class-folders outer",
            )
        elif inner:
            self._account.decide("folders inside a class folder belong to that class")
        return 0

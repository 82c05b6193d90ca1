"""Files under a folder, names of files in tables, and lists of names: how they are found."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import numpy.typing as npt

from harness.console import plural, printable
from harness.data.importers.images import (
    UNREADABLE,
    is_image,
    looks_like_image,
    read_images,
    transform_note,
)
from harness.data.importers.naming import normal, split_of
from harness.data.importers.options import ImportOptions
from harness.data.summary import Account, listed
from harness.errors import BenchError
from harness.files import check_regular

_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
_TEXT = frozenset(
    {".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".py"}
    | {".zip", ".gz", ".tar", ".npz", ".npy", ".h5", ".hdf5", ".mat", ".pkl", ".xlsx", ".xls"}
)


@dataclass
class Listing:
    """All that lies under ``root``, links to folders included, in sorted order.

    ``images``: readable image files, by suffix or content. ``unusable``: what is named like an
    image but cannot be read as one (a broken link, a pipe, a format without a decoder), with the
    reason. ``other``: files that are no images. ``folders``: all folders but the root.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    unusable: dict[Path, str] = field(default_factory=dict)
    other: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def name(self, file: Path) -> str:
        """The path of a file below the root."""
        return relative(file, self.root)


def relative(file: Path, root: Path) -> str:
    """``file`` as a POSIX path below ``root``, or as it is where it lies elsewhere."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else file.as_posix()


def walk(root: Path, account: Account, ignore: Sequence[str] = ()) -> Listing:
    """List everything below ``root``; hidden and ignored files go to the account."""
    listing = Listing(root)
    hidden: list[str] = []
    ignored: list[str] = []
    again: list[str] = []
    seen: set[tuple[int, int]] = set()

    def visit(folder: Path) -> None:
        state = folder.stat()
        if (state.st_dev, state.st_ino) in seen:
            again.append(listing.name(folder))
            return
        seen.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        links = [entry for entry in found if entry.is_symlink()]
        for entry in [entry for entry in found if not entry.is_symlink()] + links:
            path = folder / entry.name
            name = listing.name(path)
            if entry.name.startswith(".") or entry.name.casefold() in _SYSTEM:
                hidden.append(name)
            elif is_ignored(name, ignore):
                ignored.append(name)
            elif entry.is_dir():
                listing.folders.append(path)
                visit(path)
            else:
                _sort_in(path, listing)

    visit(root)
    listing.images.sort()
    listing.other.sort()
    files = len(listing.images) + len(listing.unusable) + len(listing.other)
    account.found["files"] = files + len(hidden) + len(ignored)
    account.leave_out("files or folders", "hidden, or the system's own", hidden)
    account.leave_out("files or folders", "--ignore", ignored)
    account.leave_out("folders", "a link to a folder that was read already", again)
    return listing


def _sort_in(path: Path, listing: Listing) -> None:
    """Put one file where it belongs; a pipe or a device is never opened."""
    named = is_image(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        listing.unusable[path] = "broken link"
        return
    except OSError as error:
        listing.unusable[path] = error.strerror or str(error)
        return
    if not stat.S_ISREG(mode):
        listing.unusable[path] = "not a regular file"
    elif path.suffix.lower() in UNREADABLE or path.name.lower().endswith(".nii.gz"):
        listing.unusable[path] = f"{path.suffix} files are not read; convert them to PNG"
    elif named or (path.suffix.lower() not in _TEXT and looks_like_image(path)):
        listing.images.append(path)
    else:
        listing.other.append(path)


def is_ignored(name: str, patterns: Sequence[str]) -> bool:
    """Whether ``--ignore`` names a file: by its path, by its name or by that of a folder of it."""
    return any(
        fnmatchcase(part, pattern) for pattern in patterns for part in (name, *name.split("/"))
    )


def account_for_others(listing: Listing, account: Account, known: Iterable[Path] = ()) -> None:
    """Record files that are no images and that no one has read."""
    read = {path.resolve() for path in known}
    rest = [listing.name(path) for path in listing.other if path.resolve() not in read]
    account.leave_out("files", "not images", rest)


def refuse_unusable(
    where: Path, unusable: Mapping[str, str], total: int, account: Account, allowed: bool
) -> None:
    """Stop because of broken images, listed together, or record that they are left out."""
    if not unusable:
        return
    if not allowed:
        named = listed(f"{printable(name)}: {reason}" for name, reason in unusable.items())
        raise BenchError(
            f"{where}: {len(unusable)} of {total} image files are broken ({named}); replace them, "
            "or pass --allow-missing to leave them out"
        )
    account.leave_out("image files", "broken", list(unusable))


def read_files(
    root: Path, files: Sequence[Path], options: ImportOptions, account: Account
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp], dict[str, str]]:
    """The images of ``files``, the indices of those that are whole, and their source entry.

    Raises:
        BenchError: broken images, all together, unless these may be left out.
    """
    read = read_images(files, account, options.size, options.channels, options.intensity)
    broken = {relative(files[index], root): reason for index, reason in read.broken.items()}
    refuse_unusable(root, broken, len(files), account, options.allow_missing)
    kept = [files[index] for index in read.kept]
    account.used["images"] = len(kept)
    return read.images, read.kept, _source_entry(root, kept, read.digests, options)


def _source_entry(
    root: Path, files: Sequence[Path], digests: Sequence[str], options: ImportOptions
) -> dict[str, str]:
    """One entry for all image files: the checksum of the list that ``sha256sum`` would print."""
    digest = hashlib.sha256()
    for file, content in zip(files, digests, strict=True):
        digest.update(f"{content}  ".encode() + os.fsencode(relative(file, root)) + b"\n")
    note = f"{len(files)} image files; SHA-256 of the lines 'sha256  name'"
    done = transform_note(options.size, options.intensity)
    return {
        "file": f"{printable(root.resolve().name)}/",
        "sha256": digest.hexdigest(),
        "note": f"{note}; {done}" if done else note,
    }


# Lists of names ---------------------------------------------------------------------------------


def read_list(path: Path) -> list[str]:
    """The names in a text file, one a line; a byte-order mark is none of them."""
    try:
        check_regular(path)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: cannot be read as a list of file names ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_lists(folder: Path, account: Account) -> dict[str, Path]:
    """The lists of names of each split in ``folder``: train, val, test or trainval.

    ``test_list.txt`` and ``train_val_list.txt`` (NIH), ``test_list_NIH.txt``, ``val.txt``, ...
    """
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.[tT][xX][tT]")):
        if file.name.startswith(".") or not file.is_file():
            continue
        stem = normal(file.stem).removesuffix("nih")
        for end in ("list", "names", "files", "ids", "images", "imagelist"):
            stem = stem.removesuffix(end)
        split = "trainval" if stem in ("trainval", "trainvalid") else split_of(stem)
        if split is not None:
            found.setdefault(split, []).append(file)
    for split, files in found.items():
        if len(files) > 1:
            account.choose(
                f"{listed(file.name for file in files)} could each be the list of {split} images",
                f"--test-list FILE or --ignore {files[1].name}",
                f"{files[0].name} is used",
            )
    return {split: files[0] for split, files in found.items()}


def split_by_lists(
    where: Path, names: Sequence[str], lists: Mapping[str, Path], account: Account
) -> dict[str, list[int]]:
    """The rows of each split by lists of names: a test list alone leaves the rest to train.

    ``trainval`` means train. Names that no row has go to the account.

    Raises:
        BenchError: a name in two lists or in none where all splits are listed, an empty split.
    """
    owner: dict[int, str] = {}
    index = _index(names)
    both: list[str] = []
    for split, file in lists.items():
        unknown: list[str] = []
        for entry in read_list(file):
            row = _row(entry, index)
            if row is None:
                unknown.append(entry)
            elif owner.setdefault(row, split) != split:
                both.append(names[row])
        account.leave_out(f"names in {file.name}", "no such image in the data set", unknown)
    files = " and ".join(file.name for file in lists.values())
    if both:
        raise BenchError(
            f"{where}: {plural(len(both), 'image', 'is')} in both {files} ({listed(both)})"
        )
    rest = [row for row in range(len(names)) if row not in owner]
    if not lists.keys() & {"train", "trainval"}:
        unlisted = "train"
    elif "test" not in lists and ("trainval" in lists or "val" in lists):
        unlisted = "test"
    elif rest:
        neither = " nor ".join(file.name for file in lists.values())
        raise BenchError(
            f"{where}: {plural(len(rest), 'image', 'is')} in neither {neither} "
            f"({listed(names[row] for row in rest)})"
        )
    owner |= dict.fromkeys(rest, unlisted) if rest else {}
    expected = {"trainval": "train"}
    wanted = {"train", "test" if "test" in lists or "trainval" in lists else "train"} | {
        expected.get(split, split) for split in lists
    }
    members: dict[str, list[int]] = {split: [] for split in ("train", "val", "test")}
    for row in range(len(names)):
        members[expected.get(owner[row], owner[row])].append(row)
    for split in sorted(wanted):
        if not members[split]:
            first = next(iter(lists.values()))
            raise BenchError(
                f"{first}: leaves no {split} images among the {len(names)} that were chosen"
            )
    return {split: rows for split, rows in members.items() if rows}


def _index(names: Sequence[str]) -> dict[str, int | None]:
    """Row by name, and by base name and stem where these are unique (else None)."""
    keys: dict[str, int | None] = {}
    for key in (_nfc, lambda name: PurePosixPath(_nfc(name)).name, _stem):
        times = Counter(map(key, names))
        for row, name in enumerate(names):
            keys.setdefault(key(name), row if times[key(name)] == 1 else None)
    return keys


def _row(entry: str, index: Mapping[str, int | None]) -> int | None:
    name = _nfc(entry)
    for text in (name, PurePosixPath(name).name, name.split()[0], name.split(",")[0]):
        if (row := index.get(text)) is not None:
            return row
    return None


# Names of images in a table ---------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """The file of each row, None where there is none; ``hints``: what may have been meant."""

    files: list[Path | None]
    hints: dict[int, Path]


def locate(
    names: Sequence[str], folders: Sequence[Path], listing: Listing, loose: bool, account: Account
) -> Found:
    """Find the image of each name.

    A name with folders in it means that path: below one of ``folders``, or at the end of a path
    below the root of ``listing``. Leading folders are dropped only where all rows share them (a
    table written on another machine). A bare name is looked for in ``folders``; elsewhere only
    where none of the images is in ``folders``: else a row whose image is missing would get another
    one of the same name. Names are compared in Unicode's NFC. What is found by a weaker rule
    (another folder, case or suffix) is a hint, and counts only if ``loose``.

    Raises:
        BenchError: one name that fits two files.
    """
    parts = [_parts(name) for name in names]
    common = _common(parts)
    lookup = _Lookup(listing)
    files: list[Path | None] = [None] * len(names)
    dropped = 0
    for drop in range(common + 1):
        direct = [
            _direct(line[drop:], folders, name) or lookup.at(folders, line[drop:])
            for line, name in zip(parts, names, strict=True)
        ]
        found = direct
        if not any(direct):  # then the images lie together, but elsewhere
            found = [
                lookup.find(line[drop:], name) if drop == 0 or len(line) - drop > 1 else None
                for line, name in zip(parts, names, strict=True)
            ]
        if sum(map(bool, found)) > sum(map(bool, files)):
            files, dropped = found, drop
        if all(files):
            break
    if dropped:
        shared = printable("/".join(parts[0][:dropped]))
        account.decide(f"all file names in the table begin with {shared}/, which is dropped")
    hints: dict[int, Path] = {}
    for row, file in enumerate(files):
        if file is None and (near := lookup.near(parts[row][dropped:])):
            hints[row] = near
    if loose and hints:
        account.decide(
            f"{plural(len(hints), 'image', 'is')} matched without regard to folder, case and "
            "suffix (--loose-names)"
        )
        files = [hints.get(row) if file is None else file for row, file in enumerate(files)]
        hints = {}
    return Found(files, hints)


class _Lookup:
    """Image files by their last name, exactly and loosely."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._exact: dict[str, list[Path]] = {}
        self._near: dict[str, list[Path]] = {}
        self._paths = {_nfc(listing.name(file)): file for file in listing.images}
        for file in [*listing.images, *listing.unusable]:
            self._exact.setdefault(_nfc(file.name), []).append(file)
            self._near.setdefault(_stem(file.name).casefold(), []).append(file)

    def at(self, folders: Sequence[Path], parts: Sequence[str]) -> Path | None:
        """The image at ``parts`` below one of ``folders``, in whatever Unicode form."""
        for folder in folders:
            if folder.is_relative_to(self._listing.root):
                above = folder.relative_to(self._listing.root).parts
                if file := self._paths.get("/".join((*above, *parts))):
                    return file
        return None

    def find(self, parts: Sequence[str], name: str) -> Path | None:
        if not parts:
            return None
        fitting = self._ending(self._exact.get(parts[-1], []), parts[:-1])
        if len(fitting) > 1:
            raise BenchError(
                f"{self._listing.root}: {printable(name)!r} could be {fitting[0]} or {fitting[1]}; "
                "name folders"
            )
        return fitting[0] if fitting else None

    def near(self, parts: Sequence[str]) -> Path | None:
        """The one file of that name elsewhere, in another case or with another suffix, or None."""
        if not parts:
            return None
        fitting = self._near.get(_stem(parts[-1]).casefold(), [])
        if len(fitting) > 1:
            fitting = self._ending(fitting, parts[:-1], fold=True)
        return fitting[0] if len(fitting) == 1 else None

    def _ending(
        self, files: Iterable[Path], folders: Sequence[str], fold: bool = False
    ) -> list[Path]:
        """The files whose folders end in ``folders``."""

        def key(names: Iterable[str]) -> list[str]:
            return [_nfc(name).casefold() if fold else _nfc(name) for name in names]

        wanted = key(folders)
        if not wanted:
            return list(files)
        above = ((file, key(PurePosixPath(self._listing.name(file)).parts[:-1])) for file in files)
        return [file for file, names in above if names[-len(wanted) :] == wanted]


def _direct(parts: Sequence[str], folders: Sequence[Path], name: str) -> Path | None:
    if not parts:
        return None
    given = Path(name)
    candidates = [given] if given.is_absolute() else []
    for file in [*candidates, *(folder.joinpath(*parts) for folder in folders)]:
        try:
            if file.is_file():
                return file
        except (OSError, ValueError):  # too long for a name, or with a zero byte
            continue
    return None


def _parts(name: str) -> tuple[str, ...]:
    """The components of a path as a table has it, on POSIX or on Windows."""
    name = _nfc(name.strip())
    pure: PurePosixPath | PureWindowsPath = PurePosixPath(name)
    if "\\" in name:
        pure = PureWindowsPath(name)
    return tuple(part for part in pure.parts if part != pure.anchor and part != ".")


def _common(parts: Sequence[tuple[str, ...]]) -> int:
    """How many leading folders all rows share."""
    folders = [line[:-1] for line in parts if line]
    if not folders:
        return 0
    low, high = min(folders), max(folders)
    shared = 0
    for first, second in zip(low, high, strict=False):
        if first != second:
            break
        shared += 1
    return shared


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _stem(name: str) -> str:
    path = PurePosixPath(_nfc(name))
    return path.stem if is_image(Path(path.name)) else path.name

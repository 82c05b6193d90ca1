"""A folder per class: ``DIR/class/*.png``, or ``DIR/{train,val,test}/class/*.png``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data.hdf5 import MAX_CLASSES, Split
from harness.data.sources._base import ImportOptions, RawDataset
from harness.data.sources._images import is_image, read_images, transform_note
from harness.errors import BenchError

NAME = "folder"
DESCRIPTION = "a folder with one folder of images per class (inside train/, val/, test/ or not)"
USES = frozenset({"size", "channels", "classes"})
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def recognises(path: Path) -> bool:
    """A folder with two or more folders of images in it, or with train/ that holds such folders."""
    if not path.is_dir():
        return False
    root = path / "train" if (path / "train").is_dir() else path
    with_images = sum(any(map(is_image, folder.iterdir())) for folder in _folders(root))
    return with_images >= 2


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read every image; the classes are the names of the folders, in alphabetical order."""
    if not path.is_dir():
        raise BenchError(f"{path}: not a folder; expected a folder with one folder per class")
    roots = _split_folders(path)
    classes = tuple(folder.name for folder in _folders(roots["train"]))
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise BenchError(
            f"{roots['train']}: {len(classes)} class folders; expected 2 to {MAX_CLASSES}, "
            "each with the images of one class"
        )
    files: list[Path] = []
    labels: dict[str, list[int]] = {}
    for name, root in roots.items():
        labels[name] = []
        for folder in _folders(root):
            if folder.name not in classes:
                raise BenchError(f"{folder}: a class that is not in {roots['train']}")
            inside = sorted(file for file in folder.iterdir() if is_image(file))
            if not inside:
                raise BenchError(f"{folder}: no images in this class folder; fill or remove it")
            files += inside
            labels[name] += [classes.index(folder.name)] * len(inside)
        if not labels[name]:
            raise BenchError(f"{root}: no class folders in this split")
    images = read_images(files, options.size, options.channels)
    splits: dict[str, Split] = {}
    start = 0
    for name, values in labels.items():
        end = start + len(values)
        splits[name] = Split(
            images=images[start:end],
            labels=np.array(values, dtype=np.uint8),
            id=[file.relative_to(path).as_posix() for file in files[start:end]],
        )
        start = end
    return RawDataset(
        task="multiclass",
        classes=_named(path, classes, options.classes),
        splits=splits,
        source=[source_entry(path, files, options)],
    )


def source_entry(path: Path, files: Sequence[Path], options: ImportOptions) -> dict[str, str]:
    """One entry for all image files: the checksum of the list that ``sha256sum`` would print."""
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{content}  {file.relative_to(path).as_posix()}\n".encode())
    note = f"{len(files)} image files; SHA-256 of the lines 'sha256  name'"
    done = transform_note(options.size)
    return {
        "file": f"{path.resolve().name}/",
        "sha256": digest.hexdigest(),
        "note": f"{note}; {done}" if done else note,
    }


def _named(path: Path, found: tuple[str, ...], given: tuple[str, ...] | None) -> tuple[str, ...]:
    if given is not None and len(given) != len(found):
        raise BenchError(
            f"{path}: {len(given)} class names were given for {len(found)} folders "
            f"({', '.join(found)})"
        )
    return given or found


def _folders(root: Path) -> list[Path]:
    return sorted(
        entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _split_folders(path: Path) -> dict[str, Path]:
    """The root of the class folders of each split."""
    if not (path / "train").is_dir():
        return {"train": path}
    found: dict[str, Path] = {}
    for name, aliases in _SPLITS.items():
        for alias in aliases:
            if (path / alias).is_dir():
                found[name] = path / alias
                break
    return found

"""Chest X-rays of MedMNIST: ``pneumoniamnist.npz`` and ``chestmnist.npz``, and their larger sizes.

The archives hold MedMNIST's own splits: ``train_images``, ``train_labels``, ``val_...`` and
``test_...``. Their checksums are those that MedMNIST (version 3.0) publishes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.console import terminal
from harness.data.importers import npz
from harness.data.importers.base import RawDataset
from harness.data.importers.options import ImportOptions
from harness.data.schema import SPLITS, Task
from harness.errors import BenchError

NAME = "medmnist"
DESCRIPTION = "pneumoniamnist.npz or chestmnist.npz of MedMNIST (or _64, _128, _224)"
INSTEAD_OF = "npz"
USES: frozenset[str] = frozenset()
LICENSE = "CC BY 4.0 (MedMNIST)"


@dataclass(frozen=True)
class Known:
    """A data set of MedMNIST: ``md5`` by side length, ``classes`` in MedMNIST's order."""

    task: Task
    classes: tuple[str, ...]
    md5: dict[int, str]


KNOWN = {
    "pneumoniamnist": Known(
        "multiclass",
        ("normal", "pneumonia"),
        {
            28: "28209eda62fecd6e6a2d98b1501bb15f",
            64: "8f4eceb4ccffa70c672198ea285246c6",
            128: "05b46931834c231683c68f40c47b2971",
            224: "d6a3c71de1b945ea11211b03746c1fe1",
        },
    ),
    "chestmnist": Known(
        "multilabel",
        (
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        {
            28: "02c8a6516a18b556561a56cbdd36c4a8",
            64: "9de6cd0b934ebb5b7426cfba5efbae16",
            128: "db107e5590b27930b62dbaf558aebee3",
            224: "45bd33e6f06c3e8cdb481c74a89152aa",
        },
    ),
}


def file_name(name: str, side: int) -> str:
    """What MedMNIST calls the archive: ``chestmnist.npz``, ``chestmnist_64.npz``."""
    return f"{name}.npz" if side == 28 else f"{name}_{side}.npz"


_FILES = {
    file_name(name, side): (name, side) for name, known in KNOWN.items() for side in known.md5
}


def recognises(path: Path) -> bool:
    """A file that is called as MedMNIST calls it."""
    return path.name in _FILES and path.is_file()


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read the archive with its own splits and check it against MedMNIST's MD5.

    The archive is known by its name, or by its MD5 when it was renamed. A file that is called like
    one of MedMNIST's but is another is read with a warning, which the file's record keeps.
    """
    if not path.is_file():
        raise BenchError(f"{path}: not a file; expected one of {', '.join(_FILES)}")
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, "md5").hexdigest()
    by_md5 = {
        digest: (name, side) for name, known in KNOWN.items() for side, digest in known.md5.items()
    }
    found = by_md5.get(md5) or _FILES.get(path.name)
    if found is None:
        raise BenchError(
            f"{path}: neither a name nor an MD5 of MedMNIST's chest X-rays "
            f"({', '.join(_FILES)}); pass --format npz"
        )
    name, side = found
    known = KNOWN[name]
    raw = npz.load(path, ImportOptions(task=known.task, yes=options.yes))
    official = file_name(name, side)
    genuine = md5 in by_md5
    if genuine:
        note = f"MD5 {md5} is that of MedMNIST's {official}"
    else:
        note = f"WARNING: MD5 {md5} is not that of MedMNIST's {official} ({known.md5[side]})"
        terminal.warn(f"{path}: {note.removeprefix('WARNING: ')}: changed, damaged or another file")
    missing = [split for split in SPLITS if split not in raw.splits]
    if missing:
        raise BenchError(f"{path}: no {missing[0]}_images, which MedMNIST's {official} has")
    if raw.task != known.task or len(raw.classes) != len(known.classes):
        raise BenchError(
            f"{path}: labels are {raw.task} of {len(raw.classes)} classes, but those of MedMNIST's "
            f"{official} are {known.task} of {len(known.classes)}"
        )
    return dataclasses.replace(
        raw,
        classes=known.classes,
        source=[entry | {"note": note} for entry in raw.source],
        split_note=f"MedMNIST's own train, val and test ({name})"
        if genuine
        else f"train, val and test of the file, which is called as MedMNIST's {name}",
        license=LICENSE if genuine else "",
    )

"""CIFAR-10 in its binary version: ``cifar-10-batches-bin`` (Krizhevsky 2009).

A file is a sequence of records, each a byte with the label and 3,072 bytes with the image: 32x32
pixels of red, then of green, then of blue, row by row. ``batches.meta.txt`` names the classes, one
a line. The files are at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.data.importers.base import RawDataset
from harness.data.importers.options import ImportOptions
from harness.data.schema import Split
from harness.errors import BenchError

NAME = "cifar10"
DESCRIPTION = "a folder with data_batch_1.bin and test_batch.bin of CIFAR-10's binary version"
USES = frozenset({"classes"})
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes."""


def recognises(path: Path) -> bool:
    """A folder with CIFAR-10's files; decided by their names alone."""
    return (path / "data_batch_1.bin").is_file() and (path / "test_batch.bin").is_file()


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read all training batches in the order of their numbers, and the test batch.

    Raises:
        BenchError: a file is missing, damaged, or not in this format.
    """
    account = options.account(path)
    # Their numbers have one digit, so the order of names is the order of numbers.
    training = sorted(path.glob("data_batch_[0-9].bin"))
    if not training or not (path / "test_batch.bin").is_file():
        raise BenchError(f"{path}: no data_batch_1.bin and test_batch.bin in this folder")
    files = {"train": training, "test": [path / "test_batch.bin"]}
    splits = {name: read_records(paths) for name, paths in files.items()}
    highest = max(int(split.labels.max()) for split in splits.values())
    classes = options.classes or class_names(path) or tuple(map(str, range(highest + 1)))
    if highest >= len(classes):
        raise BenchError(
            f"{path}: there is a label {highest}, but {len(classes)} classes are named "
            "(batches.meta.txt or --classes)"
        )
    read = [file for paths in files.values() for file in paths]
    account.found["files"] = account.used["files"] = len(read)
    account.used["images"] = sum(map(len, splits.values()))
    return RawDataset(
        "multiclass",
        classes,
        splits,
        source=[
            {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            for file in read
        ],
        split_note="CIFAR-10's own train and test",
        summary=account.summary(),
    )


def read_records(paths: list[Path]) -> Split:
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,) of all files, one after another."""
    records = []
    for path in paths:
        content = path.read_bytes()
        if not content or len(content) % RECORD:
            raise BenchError(
                f"{path}: {len(content)} bytes are no whole number of records of {RECORD} bytes: "
                "download it again"
            )
        records.append(np.frombuffer(content, np.uint8).reshape(-1, RECORD))
    joined = np.concatenate(records)
    return Split(np.ascontiguousarray(joined[:, 1:].reshape(-1, *SHAPE)), joined[:, 0].copy())


def class_names(path: Path) -> tuple[str, ...]:
    """The lines of ``batches.meta.txt``; nothing where that is missing."""
    names = path / "batches.meta.txt"
    return tuple(names.read_text("utf-8").split()) if names.is_file() else ()

"""Small data sets that are drawn at random, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.data.schema import ImageDataset, Split, Task
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.models.card import ModelCard

CLASSES = ("a", "b", "c", "d", "e")
SIZES = {"train": 96, "val": 14, "test": 270}
"""Images a split: the last batch of the test split is smaller than those before it."""
SHAPES = ((2, 20, 16), (1, 28, 28), (3, 32, 32), (1, 64, 64), (3, 224, 224))
"""(C, H, W), in the order in which they are tried: unequal sides show what is transposed."""


def shape_for(card: ModelCard) -> tuple[int, int, int]:
    """The first of :data:`SHAPES` that the network can take.

    Raises:
        BenchError: it can take none of them.
    """
    for shape in SHAPES:
        try:
            card.parameters(shape, len(CLASSES))
        except BenchError as error:
            refusal = error
        else:
            return shape
    raise refusal


@cache
def random_dataset(shape: tuple[int, int, int], task: Task = "multiclass") -> Path:
    """A data set file of images (C, H, W) with a pattern for each class, written once a session.

    Labels of task ``multilabel`` are independent of each other; some are rare.
    """
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (len(CLASSES), *shape))
    splits = {}
    for name, size in SIZES.items():
        if task == "multiclass":
            labels = (np.arange(size) % len(CLASSES)).astype(np.uint8)
            signal = patterns[labels]
        else:
            labels = (
                rng.random((size, len(CLASSES))) < np.linspace(0.1, 0.5, len(CLASSES))
            ).astype(np.uint8)
            signal = np.tensordot(labels, patterns, 1) // len(CLASSES)
        images = signal + rng.integers(0, 56, (size, *shape))
        splits[name] = Split(images.astype(np.uint8), labels)
    dataset = ImageDataset(name="random", task=task, classes=CLASSES, splits=splits)
    name = f"{task}-{'x'.join(map(str, shape))}.h5"
    return write_dataset(Path(_folder().name) / name, dataset)


@cache
def _folder() -> TemporaryDirectory[str]:
    """Removed when the interpreter ends."""
    return TemporaryDirectory(prefix="harness-testing-")

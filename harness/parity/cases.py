"""What ``bench parity`` covers unless told otherwise: cases that one data set would not show.

Square images hide transposed ones, a single channel hides mixed channels, and a single update rule
hides faults of the others. Pixels and labels are drawn at random, the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.data.schema import ImageDataset, Split, Task
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.parity.trace import ProofPlan, make_plan
from harness.plugins import find_model
from harness.protocol.positives import balancing_weights
from harness.protocol.random import stream

CLASSES = ("a", "b", "c", "d", "e")
SIZES = {"train": 96, "val": 14, "test": 270}
"""Images a split: the last batch of the test split is smaller than the one before it."""
SIDES = ((20, 16), (28, 36), (40, 34), (72, 64))
"""(H, W), in the order in which they are tried."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One data set with one update rule."""

    name: str
    channels: int
    task: Task
    optimizer: Optimizer
    batch_size: int
    from_disk: bool = False
    """Whether images are read while they are trained on."""


CASES = (
    Case(
        name="grey-multiclass-sgd",
        channels=1,
        task="multiclass",
        optimizer=Optimizer(learning_rate=0.01, weight_decay=1e-3),
        batch_size=16,
    ),
    Case(
        name="colour-multilabel-adam",
        channels=3,
        task="multilabel",
        optimizer=Optimizer(name="adam", learning_rate=1e-3, weight_decay=1e-2),
        batch_size=7,
    ),
    Case(
        name="colour-multiclass-adamw",
        channels=3,
        task="multiclass",
        optimizer=Optimizer(name="adamw", learning_rate=1e-3, weight_decay=0.1),
        batch_size=13,
        from_disk=True,
    ),
)


def standard_plans(model: str, *, folder: Path, steps: int, threads: int) -> list[ProofPlan]:
    """A plan for every case, with data sets that are written into ``folder``.

    Positives of the labels of a multi-label case have class weights.

    Raises:
        BenchError: an unknown network, or one that takes images of none of :data:`SIDES`.
    """
    return list(_plans(model, folder, steps, threads))


def _plans(model: str, folder: Path, steps: int, threads: int) -> Iterator[ProofPlan]:
    for case in CASES:
        height, width = sides_for(model, case.channels)
        path = folder / f"{case.name}-{height}x{width}.h5"
        if not path.exists():
            write_random(path, case, height, width)
        with open_dataset(path) as data:
            labels = data.split("train").labels
        plan = make_plan(
            model,
            path,
            data_dir=folder,
            optimizer=case.optimizer,
            batch_size=case.batch_size,
            steps=steps,
            threads=threads,
            positive_weights=balancing_weights(labels) if case.task == "multilabel" else (),
        )
        yield replace(plan, memory_budget=0) if case.from_disk else plan


def sides_for(model: str, channels: int) -> tuple[int, int]:
    """Height and width of the smallest images, not square, that a network takes.

    Raises:
        BenchError: it takes none of :data:`SIDES`.
    """
    card = find_model(model)
    for height, width in SIDES:
        try:
            card.parameters((channels, height, width), len(CLASSES))
        except BenchError as error:
            refusal = error
        else:
            return height, width
    raise refusal


def write_random(path: Path, case: Case, height: int, width: int) -> Path:
    """A data set file with a pattern for each class under noise."""
    draw = stream(0, "parity case", case.name).random
    patterns = 200 * draw((len(CLASSES), case.channels, height, width))
    splits = {}
    for name, size in SIZES.items():
        shares = np.linspace(0.1, 0.5, len(CLASSES))
        labels = (draw((size, len(CLASSES))) < shares).astype(np.uint8)
        if case.task == "multiclass":
            labels = np.eye(len(CLASSES), dtype=np.uint8)[np.arange(size) % len(CLASSES)]
        signal = (
            np.tensordot(labels, patterns, 1) / np.maximum(labels.sum(1), 1)[:, None, None, None]
        )
        images = (signal + 55 * draw(signal.shape)).astype(np.uint8)
        single = labels.argmax(axis=1).astype(np.uint8)
        splits[name] = Split(images, single if case.task == "multiclass" else labels)
    dataset = ImageDataset(name=case.name, task=case.task, classes=CLASSES, splits=splits)
    return write_dataset(path, dataset)

"""Split validation and test images off the training images, where the source has no such split.

Stratified by class for multiclass labels, by group where groups are known (no group ever lands in
two splits), at random otherwise. The order comes from the raw output of PCG64, sorted: a stream
that NumPy promises never to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.console import plural
from harness.data.schema import Split, Task
from harness.errors import BenchError

_VAL_BESIDE_OFFICIAL_TEST = 0.05  # keeps nearly all official training images for training
_VAL = 0.1
_TEST = 0.2

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Fractions:
    """How much to split off /train; None means the default. ``seed`` is that of PCG64."""

    val: float | None = None
    test: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("val", self.val), ("test", self.test)):
            if value is not None and not 0 < value < 1:
                raise BenchError(f"--{name}-fraction {value:g}: must lie between 0 and 1")
        if self.seed < 0:
            raise BenchError(f"--split-seed {self.seed}: must not be negative")


def shuffled(count: int, bits: np.random.PCG64) -> Indices:
    """A random order of 0 to ``count`` - 1."""
    return np.argsort(bits.random_raw(count), kind="stable")


def complete(
    splits: Mapping[str, Split], task: Task, fractions: Fractions, note: str = ""
) -> tuple[dict[str, Split], str]:
    """``splits`` with val and test, the missing ones taken from train, and the rule in words.

    A fraction is one of all images that were in train at first. ``note`` says how the splits that
    the source has came about; it becomes part of the rule.
    """
    train = splits["train"]
    wanted: dict[str, float] = {}
    if "test" not in splits:
        wanted["test"] = _TEST if fractions.test is None else fractions.test
    elif fractions.test is not None:
        raise BenchError("--test-fraction: the source has a test split of its own")
    if "val" not in splits:
        default = _VAL_BESIDE_OFFICIAL_TEST if "test" in splits else _VAL
        wanted["val"] = default if fractions.val is None else fractions.val
    elif fractions.val is not None:
        raise BenchError("--val-fraction: the source has a validation split of its own")
    official = [name for name in ("train", "val", "test") if name in splits]
    rule = note or (
        f"{', '.join(official)} as in the source" if len(official) > 1 else "the source has one set"
    )
    if not wanted:
        return dict(splits), rule
    if sum(wanted.values()) >= 1:
        raise BenchError(
            f"--val-fraction and --test-fraction: {' + '.join(f'{v:g}' for v in wanted.values())} "
            "leave nothing for training"
        )
    if len(train) <= len(wanted):
        raise BenchError(
            f"{len(train)} training images cannot be divided into train and {' and '.join(wanted)}"
        )
    bits = np.random.PCG64(fractions.seed)
    if train.group is not None:
        how = "by group"
        parts = _by_group(train.group, wanted, bits)
    elif task == "multiclass":
        how = "stratified by class"
        parts = _stratified(train.labels, wanted, bits)
    else:
        how = "at random"
        parts = _at_random(np.arange(len(train)), wanted, bits)
    result = {name: train.take(indices) for name, indices in parts.items()}
    result.update({name: split for name, split in splits.items() if name != "train"})
    taken = ", ".join(f"{name} {len(parts[name])} ({wanted[name]:g})" for name in wanted)
    return result, f"{rule}; taken from train {how}: {taken}; PCG64 seed {fractions.seed}"


def _at_random(
    members: Indices, wanted: Mapping[str, float], bits: np.random.PCG64
) -> dict[str, Indices]:
    """Divide ``members``: at least one for each split while one is left for train."""
    order = members[shuffled(len(members), bits)]
    parts: dict[str, Indices] = {}
    start = 0
    for name, fraction in wanted.items():
        left = len(order) - start - 1
        count = min(left, max(1, round(len(order) * fraction)))
        parts[name] = np.sort(order[start : start + count])
        start += count
    parts["train"] = np.sort(order[start:])
    return parts


def _stratified(
    labels: npt.NDArray[np.uint8], wanted: Mapping[str, float], bits: np.random.PCG64
) -> dict[str, Indices]:
    """Divide each class by itself; a class of one image stays in train."""
    pieces = [_at_random(np.flatnonzero(labels == c), wanted, bits) for c in np.unique(labels)]
    parts = {name: np.sort(np.concatenate([piece[name] for piece in pieces])) for name in pieces[0]}
    for name in wanted:
        if len(parts[name]) == 0:
            raise BenchError(
                f"no class has enough images to give one to {name}; add images, or a {name} split"
            )
    return parts


def _by_group(
    group: npt.NDArray[np.int64], wanted: Mapping[str, float], bits: np.random.PCG64
) -> dict[str, Indices]:
    """Deal out whole groups: a split takes groups in random order while they bring it nearer."""
    values, inverse, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(values) <= len(wanted):
        raise BenchError(
            f"{plural(len(values), 'group')} cannot be divided into train and "
            f"{' and '.join(wanted)} without a group in two splits "
            "(--no-group: images of one group may be in two)"
        )
    waiting = shuffled(len(values), bits).tolist()
    owner = np.full(len(values), "train", dtype="<U5")
    for index, (name, fraction) in enumerate(wanted.items()):
        reserved = len(wanted) - index  # one group each for the later splits and for train
        count, target = 0, len(group) * fraction
        while len(waiting) > reserved:
            size = int(sizes[waiting[0]])
            if count and abs(count + size - target) > abs(count - target):
                break
            owner[waiting.pop(0)] = name
            count += size
    return {name: np.flatnonzero(owner[inverse] == name) for name in ("train", *wanted)}

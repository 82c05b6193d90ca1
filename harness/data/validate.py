"""Re-derive from a data set file everything that can be re-derived, and list what is wrong."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.console import plural
from harness.data.reader import Header, open_h5, read_header, split_faults
from harness.data.schema import SPLITS, UInt8Array, channel_statistics
from harness.data.summary import listed
from harness.errors import BenchError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOLERANCE = 1e-9  # mean and std are exact sums, rounded once
_BLOCK_BYTES = 8 * 1024**2
_RARE = 5
_SHOWN = 20  # names in a message
_SMALL = 20  # images of val or test: one of fewer is more than 5 % of an accuracy


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file: an error breaks the schema, a warning is worth a look."""

    severity: Literal["error", "warning"]
    message: str


def validate(path: Path) -> list[Problem]:
    """Everything wrong with the file at ``path``; an empty list means nothing was found.

    Raises BenchError only when there is no file that could be examined (it does not exist, is a
    folder, or may not be read, or is not HDF5 or truncated).
    """
    file = open_h5(path)
    with file:
        try:
            return examine(file)
        except (OSError, RuntimeError, KeyError) as error:
            return [Problem("error", f"damaged HDF5 file: {error}")]


def examine(file: Any) -> list[Problem]:
    """Everything wrong with an open file; see :func:`validate`."""
    try:
        header = read_header(file)
    except BenchError as error:
        return [Problem("error", str(error))]
    labels: dict[str, UInt8Array] = {}
    problems = [Problem("error", fault) for fault in split_faults(file, header, labels)]
    problems += _check_source(header)
    if problems and any(problem.severity == "error" for problem in problems):
        return problems  # what follows relies on valid splits
    problems += _check_statistics(file, header)
    problems += _check_labels(header, labels)
    problems += _check_images(file)
    problems += _check_groups(file)
    return problems


def _check_source(header: Header) -> list[Problem]:
    if not header.source:
        return [Problem("warning", "attribute 'source' lists no files: the origin is unknown")]
    return [
        Problem("error", f"attribute 'source': {entry.get('file')!r} has no valid SHA-256 checksum")
        for entry in header.source
        if not _SHA256.fullmatch(str(entry.get("sha256", "")))
    ]


def _check_statistics(file: Any, header: Header) -> list[Problem]:
    mean, std = channel_statistics(file["train/images"])
    return [
        Problem(
            "error",
            f"attribute '{key}' is {stored.tolist()}, but /train/images give {derived.tolist()}",
        )
        for key, stored, derived in (("mean", header.mean, mean), ("std", header.std, std))
        if not np.allclose(stored, derived, rtol=_TOLERANCE, atol=_TOLERANCE)
    ]


def _check_labels(header: Header, labels: dict[str, UInt8Array]) -> list[Problem]:
    problems: list[Problem] = []
    for name in SPLITS:
        values = labels[name]
        if header.task == "multiclass":
            counts = np.bincount(values, minlength=len(header.classes))
        else:
            counts = values.sum(axis=0, dtype=np.int64)
        if name != "train" and len(values) < _SMALL:
            problems.append(
                Problem(
                    "warning",
                    f"/{name}: only {plural(len(values), 'image')}; a score there is a guess",
                )
            )
        if header.task == "multilabel":
            problems += _check_positives(name, header.classes, counts, len(values))
            continue
        absent = [header.classes[i] for i in np.flatnonzero(counts == 0)]
        if np.count_nonzero(counts) == 1:
            only = header.classes[int(np.argmax(counts))]
            problems.append(Problem("warning", f"/{name}: all images are of one class, {only}"))
        elif absent:
            names = listed(absent, limit=_SHOWN)
            problems.append(Problem("warning", f"/{name}: no example of {names}"))
        rare = np.flatnonzero((counts > 0) & (counts < _RARE))
        if name == "train" and len(rare):
            names = listed((f"{header.classes[i]} ({counts[i]})" for i in rare), limit=_SHOWN)
            problems.append(Problem("warning", f"/train: fewer than {_RARE} examples of {names}"))
    return problems


def _check_positives(
    name: str, classes: tuple[str, ...], counts: npt.NDArray[np.int64], images: int
) -> list[Problem]:
    """Labels that few or no images of a split have, or all of them."""

    def names(chosen: npt.NDArray[np.bool_], with_counts: bool = False) -> str:
        return listed(
            (
                f"{classes[i]} ({counts[i]})" if with_counts else classes[i]
                for i in np.flatnonzero(chosen)
            ),
            limit=_SHOWN,
        )

    few = (counts > 0) & (counts < _RARE)
    problems = [
        f"/{name}: {what} of {names(chosen)}: its AUROC is undefined there"
        for what, chosen in (("no positive", counts == 0), ("no negative", counts == images))
        if chosen.any()
    ]
    if few.any():
        problems.append(f"/{name}: fewer than {_RARE} positive examples of {names(few, True)}")
    return [Problem("warning", message) for message in problems]


def _check_images(file: Any) -> list[Problem]:
    """Images of a single value, and images that occur in two splits."""
    problems: list[Problem] = []
    hashes: dict[str, Counter[bytes]] = {}
    for name in SPLITS:
        images = file[name]["images"]
        step = max(1, _BLOCK_BYTES // int(np.prod(images.shape[1:])))
        constant: list[int] = []
        hashes[name] = Counter()
        for start in range(0, len(images), step):
            block = images[start : start + step]
            flat = block.reshape(len(block), -1)
            constant += (np.flatnonzero(flat.min(axis=1) == flat.max(axis=1)) + start).tolist()
            hashes[name].update(hashlib.blake2b(row, digest_size=16).digest() for row in flat)
        if constant:
            problems.append(
                Problem(
                    "warning",
                    f"/{name}/images: {len(constant)} image(s) of a single value, "
                    f"the first at index {constant[0]}",
                )
            )
    for first, second in combinations(SPLITS, 2):
        shared = hashes[first].keys() & hashes[second].keys()
        if shared:
            count = sum(hashes[second][digest] for digest in shared)
            problems.append(
                Problem("warning", f"{count} image(s) of /{second} also occur in /{first}")
            )
    return problems


def _check_groups(file: Any) -> list[Problem]:
    groups = {name: np.unique(file[name]["group"][()]) for name in SPLITS if "group" in file[name]}
    if 0 < len(groups) < len(SPLITS):
        missing = next(name for name in SPLITS if name not in groups)
        return [Problem("error", f"/{missing}/group is missing, although other splits have one")]
    return [Problem("error", fault) for fault in shared_groups(groups)]


def shared_groups(groups: Mapping[str, npt.NDArray[np.int64]]) -> list[str]:
    """A sentence for each two splits that share a group; ``groups`` int64 (N,) by split."""
    faults: list[str] = []
    for first, second in combinations(groups, 2):
        shared = np.intersect1d(groups[first], groups[second])
        if len(shared):
            faults.append(
                f"{len(shared)} group(s) in both /{first} and /{second}, "
                f"for instance {shared[0]}: results on /{second} would be too good"
            )
    return faults

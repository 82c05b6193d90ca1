"""Which test images a report shows: example predictions, chosen by a rule and not by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from harness.stats.metrics import binary
from harness.stats.tasks import Task

EACH = 2
"""Of positives scored highest, of negatives scored highest, of positives scored lowest."""
ERRORS, HITS = 4, 2
"""Of several classes."""

Place = tuple[int, int]
"""A row of the split and an output of the network."""


class Examples(NamedTuple):
    rows: NDArray[np.int64]
    """Images of the test split (n,)."""
    outputs: NDArray[np.int64]
    """What each is shown for (n,): a label, the second of two classes, or the class answered."""


def choose(
    task: Task,
    logits: NDArray[np.floating],
    labels: NDArray[Any],
    groups: NDArray[np.int64] | None = None,
) -> Examples:
    """Images and outputs that show how a network with ``logits`` (N, outputs) predicts.

    Labels and two classes: the positives with the highest scores, the negatives with the highest,
    the positives with the lowest, ``EACH`` of each. Several classes: the errors of the highest
    probability, then the correct predictions. Of each kind different labels (of errors: different
    classes) come first; no image, and no patient of ``groups`` (N,), comes twice. Images
    with a NaN are never chosen, so there may be fewer, or none.
    """
    scores = logits.astype(np.float64)
    usable = np.asarray(~np.isnan(scores).any(axis=1))
    patients = np.arange(len(scores)) if groups is None else groups
    taken: set[int] = set()
    chosen: list[Place] = []
    for candidates, kinds, wanted in _kinds(task, scores, labels, usable):
        chosen += _spread(candidates, kinds, wanted, patients, taken)
    rows, outputs = zip(*chosen, strict=True) if chosen else ((), ())
    return Examples(np.array(rows, np.int64), np.array(outputs, np.int64))


def _kinds(
    task: Task,
    scores: NDArray[np.float64],
    labels: NDArray[Any],
    usable: NDArray[np.bool_],
) -> Iterable[tuple[list[Place], list[int], int]]:
    """For every kind its places, best first, what each is to differ in, and how many are wanted."""
    if task == "multiclass" and scores.shape[1] > 2:
        answers = scores.argmax(axis=1)
        certainty = softmax(scores, axis=1).max(axis=1)
        for wrong, wanted in ((True, ERRORS), (False, HITS)):
            rows = np.flatnonzero(usable & ((answers != labels) == wrong))
            rows = rows[np.argsort(-certainty[rows], kind="stable")]
            found = list(zip(rows.tolist(), answers[rows].tolist(), strict=True))
            yield found, labels[rows].tolist(), wanted
        return
    if task == "multiclass":
        ranked, labels = binary(scores, labels)
        offset = 1
    else:
        ranked, offset = scores, 0
    for positive, sign in ((1, -1), (0, -1), (1, 1)):
        rows, places = np.nonzero((labels == positive) & usable[:, None])
        order = np.argsort(sign * ranked[rows, places], kind="stable")
        found = list(zip(rows[order].tolist(), (places[order] + offset).tolist(), strict=True))
        yield found, [output for _, output in found], EACH


def _spread(
    candidates: list[Place],
    kinds: list[int],
    wanted: int,
    patients: NDArray[np.int64],
    taken: set[int],
) -> list[Place]:
    """The first ``wanted`` of ``candidates``, of different ``kinds`` as far as there are such."""
    chosen: list[Place] = []
    seen: set[int] = set()
    for repeat in (False, True):
        for (row, output), kind in zip(candidates, kinds, strict=True):
            if len(chosen) == wanted:
                return chosen
            patient = int(patients[row])
            if patient not in taken and (repeat or kind not in seen):
                chosen.append((row, output))
                taken.add(patient)
                seen.add(kind)
    return chosen

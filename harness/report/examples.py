"""Hits and misses as pictures, with the class-activation maps of every framework over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from harness.analysis.comparison import Group, Outcome
from harness.report.labels import is_synthetic
from harness.report.text import capitalised, escape, join, number, plural, table
from harness.results.folder import CellArrays


@dataclass(frozen=True)
class Shown:
    """The examples of one group and seed."""

    group: Group
    seed: int
    cells: tuple[tuple[Outcome, CellArrays], ...]
    """Frameworks that have maps of the same images and outputs."""
    others: tuple[Outcome, ...]
    """Those that have not."""

    @property
    def first(self) -> CellArrays:
        return self.cells[0][1]

    @property
    def rows(self) -> NDArray[np.int64]:
        assert self.first.example_rows is not None
        return self.first.example_rows

    @property
    def outputs(self) -> NDArray[np.int64]:
        assert self.first.example_outputs is not None
        return self.first.example_outputs

    @property
    def images(self) -> NDArray[np.uint8]:
        assert self.first.example_images is not None
        return self.first.example_images

    @cached_property
    def probabilities(self) -> list[NDArray[np.float64]]:
        """Of every framework, what it gives each example's output (n,)."""
        return [self._probability(arrays) for _, arrays in self.cells]

    def _probability(self, arrays: CellArrays) -> NDArray[np.float64]:
        logits = arrays.test_logits[self.rows].astype(np.float64)
        several = self.group.entry.task == "multilabel"
        given = expit(logits) if several else softmax(logits, axis=1)
        return np.asarray(given[np.arange(len(self.rows)), self.outputs])

    def asked(self, place: int) -> str:
        """The label or class that an example is shown for."""
        name: str = self.group.entry.classes[self.outputs[place]]
        return name

    def truth(self, place: int) -> str:
        """The class, or all labels, of an example."""
        label = self.first.test_labels[self.rows[place]]
        classes = self.group.entry.classes
        if label.ndim == 0:
            return str(classes[int(label)])
        return join([classes[k] for k in np.flatnonzero(label)]) if label.any() else "no label"

    def heading(self, place: int) -> str:
        """What stands over an example."""
        return f"{place + 1}. Shown for {self.asked(place)}; truth: {self.truth(place)}"


def shown(group: Group) -> Shown | None:
    """The examples of the first seed that has some; None where no run kept any."""
    for seed in group.seeds:
        found = [
            (outcome, arrays)
            for outcome in group.finished
            if seed in outcome.trained
            and (arrays := outcome.trained[seed].arrays) is not None
            and arrays.example_maps is not None
        ]
        if found:
            same = tuple((o, a) for o, a in found if _same(a, found[0][1]))
            names = {outcome.framework for outcome, _ in same}
            others = tuple(o for o in group.finished if o.framework not in names)
            return Shown(group, seed, same, others)
    return None


def _same(one: CellArrays, other: CellArrays) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("example_rows", "example_outputs", "example_images")
    )


def listed(found: Shown) -> str:
    """One row an example: what it is, what it is shown for, and each framework's probability."""
    header = ["", "Test image", "Truth", "Shown for"]
    header += [f"{escape(outcome.title)}, probability" for outcome, _ in found.cells]
    rows = [
        [
            str(place + 1),
            str(row),
            escape(found.truth(place)),
            escape(found.asked(place)),
            *(_probability(values[place]) for values in found.probabilities),
        ]
        for place, row in enumerate(found.rows)
    ]
    return table(header, rows, align="rrll" + "r" * len(found.cells))


def _probability(value: float) -> str:
    return "not a number" if np.isnan(value) else f"{value:.3f}"


def how_chosen(found: Shown) -> str:
    """Sentences on which images these are."""
    entry = found.group.entry
    if entry.task == "multiclass" and len(entry.classes) > 2:
        rule = (
            "the wrong answers of the highest probability, of different classes first, then right "
            "ones; each is shown for the class that was answered"
        )
    else:
        rule = (
            "positives with the highest scores, negatives with the highest scores, and positives "
            "with the lowest"
        )
        rule += ", of different labels first" if entry.task == "multilabel" else ""
    patients = "" if found.group.patients is None else " No patient is shown twice."
    synthetic = (
        " **These pictures are synthetic**: no patient was X-rayed or photographed for them."
        if is_synthetic(found.group.dataset, entry)
        else ""
    )
    return (
        f"Chosen by rule from what the framework that finished first answered (seed {found.seed}): "
        f"{rule}.{patients} {_cells(found)} They show what errors look like, not how often they "
        f"happen.{synthetic}"
    )


def _cells(found: Shown) -> str:
    assert found.first.example_maps is not None
    pixels = " x ".join(map(str, found.images.shape[2:]))
    return f"A map has {_size(found.first.example_maps)} cells, spread over {pixels} pixels."


def difference(found: Shown) -> str:
    """How far the maps of the frameworks are apart."""
    lines = []
    if len(found.cells) > 1:
        reference = found.cells[0]
        parts = [
            f"{largest_difference(reference[1], arrays)} for {escape(outcome.title)}"
            for outcome, arrays in found.cells[1:]
        ]
        lines.append(
            f"Largest difference from the map of {escape(reference[0].title)} in any cell of any "
            f"of the {plural(len(found.rows), 'map')}, relative to the larger of the two maps' "
            f"maxima: {join(parts)}. The networks are compared after training, which amplifies "
            "rounding."
        )
    if found.others:
        names = join([escape(outcome.title) for outcome in found.others])
        lines.append(f"{capitalised(names)} kept no maps of these images.")
    return " ".join(lines)


def largest_difference(one: CellArrays, other: CellArrays) -> str:
    """Over all maps, in words where there is no number."""
    assert one.example_maps is not None
    assert other.example_maps is not None
    first, second = (a.example_maps.astype(np.float64) for a in (one, other))  # type: ignore[union-attr]
    if first.shape != second.shape:
        return f"maps of another size ({_size(second)} cells against {_size(first)})"
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return "maps that are not numbers"
    scale = np.maximum(first.max(axis=(1, 2)), second.max(axis=(1, 2)))
    apart = np.abs(first - second).max(axis=(1, 2)) / np.where(scale > 0, scale, 1)
    return number(float(apart.max()), 2)


def _size(maps: NDArray[np.floating]) -> str:
    return f"{maps.shape[1]} x {maps.shape[2]}"

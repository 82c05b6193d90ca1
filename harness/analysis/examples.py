"""Example predictions, with the class-activation maps of every variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from harness.analysis.predictions import alike
from harness.analysis.run import Outcome, Workload
from harness.results.folder import CellArrays

VISIBLE = 0.01
"""Differences of maps, relative to their maxima, below which they look the same in a figure."""


@dataclass(frozen=True)
class Examples:
    """The examples of one group and seed."""

    workload: Workload
    seed: int
    cells: tuple[tuple[Outcome, CellArrays], ...]
    """Variants that have maps of the same images and outputs."""
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
        several = self.workload.entry.task == "multilabel"
        given = expit(logits) if several else softmax(logits, axis=1)
        return np.asarray(given[np.arange(len(self.rows)), self.outputs])

    def shown_for(self, index: int) -> str:
        """The label or class that an example is shown for."""
        name: str = self.workload.entry.classes[self.outputs[index]]
        return name

    def truth(self, index: int) -> list[str]:
        """The class, or all labels, of an example."""
        label = self.first.test_labels[self.rows[index]]
        classes = self.workload.entry.classes
        if label.ndim == 0:
            return [str(classes[int(label)])]
        return [classes[k] for k in np.flatnonzero(label)]

    @cached_property
    def distinct(self) -> list[list[tuple[Outcome, CellArrays]]]:
        """Variants in groups whose maps look the same."""

        def same(one: tuple[Outcome, CellArrays], other: tuple[Outcome, CellArrays]) -> bool:
            found = map_difference(one[1], other[1])
            return isinstance(found, float) and found < VISIBLE

        return alike(self.cells, same)


def examples_of(workload: Workload) -> Examples | None:
    """The examples of the first seed that has some; None where no run kept any."""
    for seed in workload.seeds:
        found = [
            (outcome, arrays)
            for outcome in workload.finished
            if seed in outcome.trained
            and (arrays := outcome.trained[seed].arrays) is not None
            and arrays.example_maps is not None
        ]
        if found:
            same = tuple((o, a) for o, a in found if _same(a, found[0][1]))
            names = {outcome.framework for outcome, _ in same}
            others = tuple(o for o in workload.finished if o.framework not in names)
            return Examples(workload, seed, same, others)
    return None


def _same(one: CellArrays, other: CellArrays) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("example_rows", "example_outputs", "example_images")
    )


def map_size(arrays: CellArrays) -> tuple[int, int]:
    """Cells of a map: rows, columns."""
    assert arrays.example_maps is not None
    return arrays.example_maps.shape[1], arrays.example_maps.shape[2]


def map_difference(
    one: CellArrays, other: CellArrays
) -> float | Literal["another size", "not numbers"]:
    """The largest over all maps, relative to the larger of the two maxima of each."""
    assert one.example_maps is not None
    assert other.example_maps is not None
    first, second = one.example_maps.astype(np.float64), other.example_maps.astype(np.float64)
    if first.shape != second.shape:
        return "another size"
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return "not numbers"
    scale = np.maximum(first.max(axis=(1, 2)), second.max(axis=(1, 2)))
    apart = np.abs(first - second).max(axis=(1, 2)) / np.where(scale > 0, scale, 1)
    return float(apart.max())

"""From an experiment to the list of cells to train: pure, no side effects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from pydantic import BaseModel, ConfigDict

from harness.plugins import FrameworkName, aliases


class Cell(BaseModel):
    """One training: a framework, a model, a data set and a seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    framework: FrameworkName
    model: str
    dataset: str
    seed: int

    @property
    def id(self) -> str:
        """Names its files: unique within a run, safe in a file name."""
        return f"{self.framework}-{self.model}-{self.dataset}-s{self.seed}"

    @property
    def former_ids(self) -> tuple[str, ...]:
        """What earlier versions, which gave the framework another name, called its files."""
        formerly = [name for name, present in aliases().items() if present == self.framework]
        return tuple(f"{name}{self.id.removeprefix(self.framework)}" for name in formerly)

    def __str__(self) -> str:
        return self.id


Group = tuple[Cell, ...]
"""Cells that differ only in the framework; interleaved, epoch by epoch."""


def plan(
    *,
    frameworks: tuple[str, ...],
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    seeds: tuple[int, ...],
) -> Iterator[Group]:
    """Yield groups of cells, data set by data set, model by model, seed by seed.

    Within a group the frameworks are interleaved (A B C A B C), so that rounds pair that were
    measured within moments of each other; the order rotates with the seed.
    """
    for dataset, model, (turn, seed) in product(datasets, models, enumerate(seeds)):
        shift = turn % len(frameworks)
        yield tuple(
            Cell(framework=framework, model=model, dataset=dataset, seed=seed)
            for framework in frameworks[shift:] + frameworks[:shift]
        )

"""From an experiment to the list of cells to train: pure, no side effects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, product
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import BenchError
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


class Shard(BaseModel):
    """A part of a plan that is run by itself: every ``count``-th group, whole groups only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Annotated[int, Field(ge=1)]
    """From 1 to ``count``."""
    count: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.index > self.count:
            raise ValueError(f"shard {self.index} of {self.count}")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``I/N``.

        Raises:
            BenchError: it is not of that form, or I is not from 1 to N.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise BenchError(
                f"--shard {text!r:.40}: give I/N with I from 1 to N, as in --shard 1/4"
            )
        return cls(index=int(found[1]), count=int(found[2]))

    def of(self, groups: Sequence[Group]) -> tuple[Group, ...]:
        """Its groups: those whose index modulo ``count`` is ``index`` - 1."""
        return tuple(groups[self.index - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def groups_of(cells: Iterable[Cell]) -> tuple[Group, ...]:
    """The groups of a plan that was written down cell by cell."""
    found = groupby(cells, key=lambda cell: (cell.dataset, cell.model, cell.seed))
    return tuple(tuple(group) for _, group in found)


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

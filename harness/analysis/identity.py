"""What was held identical between the variants of a workload, checked digest by digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.analysis.run import Workload
from harness.results.records import Identity

ITEMS = {
    "data": "data",
    "images": "pixels and labels",
    "initial_weights": "initial weights",
    "batch_order": "batch order",
    "learning_rates": "learning rates",
    "augmentation": "augmentation",
}
"""Fields of :class:`Identity` and what they are called."""

assert set(ITEMS) == set(Identity.model_fields)

Identical = Literal["identical", "different", "not compared", "not used"]


@dataclass(frozen=True)
class Check:
    """One item of one seed in every variant that finished it."""

    item: str
    seed: int
    digests: dict[str, str]
    """By framework."""

    @property
    def comparable(self) -> bool:
        return len(self.digests) > 1

    @property
    def identical(self) -> bool:
        return len(set(self.digests.values())) == 1


@dataclass(frozen=True)
class ItemIdentity:
    """One item over all seeds."""

    item: str
    status: Identical
    """'not compared': a single variant finished; 'not used': nothing is augmented."""
    identical: int
    """Seeds in which it was identical."""
    compared: int
    """Seeds that at least two variants finished."""


def checks(workload: Workload) -> list[Check]:
    """Item by item and seed by seed; none of what nobody recorded."""
    found = [
        Check(
            item=item,
            seed=seed,
            digests={
                outcome.framework: digest
                for outcome in workload.comparable
                if seed in outcome.trained
                and (digest := getattr(outcome.trained[seed].identity, item))
            },
        )
        for item in ITEMS
        for seed in workload.seeds
    ]
    return [check for check in found if check.digests]


def by_item(found: list[Check]) -> list[ItemIdentity]:
    """The same, one entry an item."""
    summarised = []
    for item in ITEMS:
        own = [check for check in found if check.item == item]
        if not own:
            continue
        comparable = [check for check in own if check.comparable]
        same = sum(check.identical for check in comparable)
        status: Identical = "identical" if same == len(comparable) else "different"
        if all(digest == "none" for check in own for digest in check.digests.values()):
            status = "not used"
        elif not comparable:
            status = "not compared"
        summarised.append(ItemIdentity(item, status, same, len(comparable)))
    return summarised

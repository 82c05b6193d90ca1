"""The answer of a run for one workload: who is faster, who is as accurate, what was identical."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.identity import Check
from harness.analysis.paired import (
    PairedTests,
    VariantPair,
    doubt,
    excludes_zero,
    paired_speed,
    paired_starts,
)
from harness.analysis.run import Outcome, Workload
from harness.stats.statistics import Estimate

GUESSING = 0.5
"""AUROC of random scores."""


@dataclass(frozen=True)
class Speeds:
    """Training speed of what is ranked: ratios are of the leader over the other."""

    leader: Outcome
    """Of the highest median speed."""
    slower: tuple[tuple[Outcome, Estimate], ...] = ()
    """The leader is faster: the interval lies above 1."""
    undecided: tuple[tuple[Outcome, Estimate], ...] = ()
    """No difference is shown."""
    doubted: tuple[Outcome, ...] = ()
    """Not judged, because of other work on the machine."""
    too_few: tuple[tuple[Outcome, Estimate], ...] = ()
    """Too few rounds for an interval."""
    unpaired: tuple[Outcome, ...] = ()
    """No seed in common."""
    comparisons: int = 1
    """How many intervals hold together."""
    starts: tuple[int, ...] = ()
    """Fresh starts that the intervals rest on; (1,): they cover the rounds of one start."""

    @property
    def others(self) -> int:
        parts = (self.slower, self.undecided, self.doubted, self.too_few, self.unpaired)
        return sum(map(len, parts))

    @property
    def clear(self) -> bool:
        """Whether the leader is faster than every other."""
        return self.others > 0 and len(self.slower) == self.others


@dataclass(frozen=True)
class Accuracies:
    """Test accuracy, or the share of images with all labels correct, of what is ranked."""

    values: tuple[tuple[Outcome, Estimate], ...]
    examples: int
    tested: bool
    """Whether predictions were kept, so that differences are tested in pairs."""
    different: tuple[tuple[VariantPair, float], ...] = ()
    """Pairs that differ beyond the noise of the test images, and the corrected p-value."""
    same_predictions: bool = False
    """From the same seed, all predict the same for every test image."""
    smallest_p: float | None = None


@dataclass(frozen=True)
class Aurocs:
    """AUROC, or its mean over the labels, of what is ranked."""

    values: tuple[tuple[Outcome, Estimate], ...]
    tested: bool
    different: tuple[tuple[VariantPair, int, Estimate], ...] = ()
    """Pair, seed and difference, where its interval leaves out 0."""
    guessing: tuple[Outcome, ...] = ()
    """Not shown to rank images better than random scores would."""


@dataclass(frozen=True)
class Verdict:
    """What a workload's results say of the variants that are ranked."""

    diverged: tuple[tuple[Outcome, tuple[int, ...]], ...]
    """Variants with the seeds from which they diverged."""
    finished: bool
    """Whether anything did."""
    speeds: Speeds | None
    """None where nothing that is ranked finished, and where no speeds were measured."""
    accuracies: Accuracies | None
    aurocs: Aurocs | None
    identity: Literal["identical", "different", "not compared"]
    augmented: bool
    """Whether training images were augmented."""
    planned: int = 0
    """How many variants the run was asked to rank."""


def verdict_of(workload: Workload, tests: PairedTests, checks: Sequence[Check]) -> Verdict:
    """From the paired tests and the checks of identity of the same workload."""
    seeds = {
        outcome.framework: tuple(s for s, r in outcome.failed.items() if r.status == "diverged")
        for outcome in workload.outcomes
    }
    comparable = [check for check in checks if check.comparable]
    same = all(check.identical for check in comparable)
    cells = [cell for outcome in workload.finished for cell in outcome.trained.values()]
    return Verdict(
        diverged=tuple((o, seeds[o.framework]) for o in workload.outcomes if seeds[o.framework]),
        finished=bool(workload.finished),
        speeds=_speeds(workload) if workload.ranked and workload.timed else None,
        accuracies=_accuracies(workload, tests) if workload.ranked else None,
        aurocs=_aurocs(workload, tests) if workload.ranked and workload.labels else None,
        identity=("identical" if same else "different") if comparable else "not compared",
        augmented=any(cell.identity.augmentation != "none" for cell in cells),
        planned=sum(outcome.role == workload.ranked_role for outcome in workload.outcomes),
    )


def _speeds(workload: Workload) -> Speeds:
    leader = max(workload.ranked, key=lambda outcome: outcome.speed.value)
    slower, undecided, doubted, too_few, unpaired = [], [], [], [], []
    for outcome in workload.ranked:
        if outcome is leader:
            continue
        # The leader was picked among all, so its intervals hold for every pair at once.
        estimate = paired_speed(leader, outcome, comparisons=workload.speed_comparisons)
        if doubt(leader, outcome):
            doubted.append(outcome)
        elif estimate is None:
            unpaired.append(outcome)
        elif not estimate.has_interval:
            too_few.append((outcome, estimate))
        elif estimate.low > 1:
            slower.append((outcome, estimate))
        else:
            undecided.append((outcome, estimate))
    starts = {len(paired_starts(leader, outcome) or []) for outcome, _ in slower + undecided}
    return Speeds(
        leader, tuple(slower), tuple(undecided), tuple(doubted), tuple(too_few), tuple(unpaired),
        workload.speed_comparisons, tuple(sorted(starts)),
    )  # fmt: skip


def _accuracies(workload: Workload, tests: PairedTests) -> Accuracies:
    pairs = tests.among(workload.ranked)
    return Accuracies(
        values=tuple((outcome, outcome.accuracy) for outcome in workload.ranked),
        examples=workload.ranked[0].test_examples,
        tested=bool(pairs),
        different=tuple((p, tests.smallest_p(p)) for p in pairs if tests.significant(p)),
        same_predictions=bool(pairs) and all(pair.identical for pair in pairs),
        smallest_p=min(map(tests.smallest_p, pairs), default=None),
    )


def _aurocs(workload: Workload, tests: PairedTests) -> Aurocs:
    found = [
        (pair, seed, difference)
        for pair in tests.among(workload.ranked)
        for seed, difference in tests.differences(pair)
    ]
    return Aurocs(
        values=tuple((outcome, outcome.mean_auroc) for outcome in workload.ranked),
        tested=bool(found),
        different=tuple(each for each in found if excludes_zero(each[2])),
        guessing=tuple(
            outcome
            for outcome in workload.ranked
            if outcome.mean_auroc.has_interval and outcome.mean_auroc.low <= GUESSING
        ),
    )

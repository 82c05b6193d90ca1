"""Two variants side by side: round by round, and on the same test images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.analysis.run import UNSTEADY, Outcome, Workload, each_image
from harness.analysis.speed import log_speeds, speed_estimate
from harness.results.folder import CellArrays
from harness.stats import statistics
from harness.stats.statistics import SIGNIFICANCE, Estimate, PairedTest, Ranking


@dataclass(frozen=True)
class AccuracyTest:
    """Two networks, trained from the same seed, on the same test images."""

    seed: int
    differing: int
    """Images to which they give different classes."""
    examples: int
    paired: PairedTest


@dataclass(frozen=True)
class RankTest:
    """Mean AUROCs of two networks, trained from the same seed, on the same test images."""

    seed: int
    first: float
    second: float
    rankings: tuple[Ranking, Ranking]

    def difference(self, tests: int) -> Estimate:
        """First less second, with an interval that holds together with those of all ``tests``."""
        one, other = self.rankings
        return one.less(other, comparisons=tests)


@dataclass(frozen=True)
class VariantPair:
    """Two variants of a workload."""

    first: Outcome
    second: Outcome
    tests: tuple[AccuracyTest, ...]
    rank_tests: tuple[RankTest, ...] = ()
    """None where there are no AUROCs."""

    @property
    def identical(self) -> bool:
        """Whether both predict the same for every test image, from every seed."""
        return all(test.differing == 0 for test in self.tests)


@dataclass(frozen=True)
class PairedTests:
    """Every two variants that finished a seed in common with predictions kept."""

    pairs: tuple[VariantPair, ...]

    @classmethod
    def of(cls, workload: Workload) -> PairedTests:
        """Of every two variants that follow the protocol."""
        pairs = []
        for first, second in combinations(workload.comparable, 2):
            tests = tuple(_accuracy_tests(first, second))
            if tests:
                pairs.append(VariantPair(first, second, tests, tuple(_rank_tests(first, second))))
        return cls(tuple(pairs))

    @property
    def count(self) -> int:
        """How many accuracy tests there are: each p-value is multiplied by it (Bonferroni)."""
        return sum(len(pair.tests) for pair in self.pairs)

    @property
    def rank_count(self) -> int:
        """How many comparisons of AUROCs there are."""
        return sum(len(pair.rank_tests) for pair in self.pairs)

    def among(self, outcomes: tuple[Outcome, ...]) -> list[VariantPair]:
        """Pairs both of whose variants are among ``outcomes``."""
        return [p for p in self.pairs if p.first in outcomes and p.second in outcomes]

    def corrected(self, p: float) -> float:
        return min(1.0, p * self.count)

    def smallest_p(self, pair: VariantPair) -> float:
        """Over the seeds, corrected for the number of tests."""
        return min(self.corrected(test.paired.p) for test in pair.tests)

    def significant(self, pair: VariantPair) -> bool:
        """Whether their accuracies differ from any seed."""
        return self.smallest_p(pair) < SIGNIFICANCE

    def differences(self, pair: VariantPair) -> list[tuple[int, Estimate]]:
        """By seed, the difference of AUROCs with an interval that holds together with all."""
        return [(test.seed, test.difference(self.rank_count)) for test in pair.rank_tests]


def excludes_zero(difference: Estimate) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return difference.has_interval and not difference.low <= 0 <= difference.high


def paired_speed(above: Outcome, below: Outcome, *, comparisons: int = 1) -> Estimate | None:
    """Throughput of ``above`` over that of ``below``, round by round of the sessions of both.

    The interval covers other fresh starts where there are several, else the rounds of the one
    there is. The intervals of all ``comparisons`` hold together. None where they were never
    interleaved.
    """
    starts = paired_starts(above, below)
    return None if starts is None else speed_estimate(starts, comparisons=comparisons)


def doubt(one: Outcome, other: Outcome) -> str:
    """Why no difference in speed is claimed between them; empty: nothing speaks against it."""
    found = [outcome.doubt for outcome in (one, other) if outcome.doubt]
    if not found and in_common(one, other) and paired_starts(one, other) is None:
        found = ["no round undisturbed for both"]
    # Other work before a spread that it explains.
    return next((each for each in found if each != UNSTEADY), found[0] if found else "")


def in_common(one: Outcome, other: Outcome) -> bool:
    """Whether they were interleaved in any session."""
    return any(
        one.trained[seed].starts.keys() & other.trained[seed].starts.keys()
        for seed in one.trained
        if seed in other.trained
    )


def paired_starts(above: Outcome, below: Outcome) -> list[NDArray[np.float64]] | None:
    """Logarithms of the ratios of speed, by session; rounds disturbed for either are left out.

    None where the two have no session in common, and where no round was undisturbed for both.
    """
    found = []
    for seed, one in above.trained.items():
        other = below.trained[seed].numbered if seed in below.trained else {}
        for session, rounds in one.numbered.items():
            # By number: trainings that were resumed need not have gone on from the same epoch.
            beside = other.get(session, {})
            pairs = [
                (each, beside[number])
                for number, each in rounds.items()
                if number in beside and not (each.disturbed or beside[number].disturbed)
            ]
            if pairs:
                first, second = zip(*pairs, strict=True)
                found.append(log_speeds(first) - log_speeds(second))
    return found or None


def _accuracy_tests(first: Outcome, second: Outcome) -> list[AccuracyTest]:
    found = []
    for seed, one in first.trained.items():
        other = second.trained.get(seed)
        if other is None or one.predictions is None or other.predictions is None:
            continue
        assert one.arrays is not None
        assert other.arrays is not None
        if not np.array_equal(one.arrays.test_labels, other.arrays.test_labels):
            continue  # not the same test images: `findings` says so
        assert one.correct is not None
        assert other.correct is not None
        found.append(
            AccuracyTest(
                seed=seed,
                differing=int((~each_image(one.predictions == other.predictions)).sum()),
                examples=len(one.correct),
                paired=statistics.mcnemar(one.correct, other.correct),
            )
        )
    return found


def _rank_tests(first: Outcome, second: Outcome) -> Iterator[RankTest]:
    for seed, one in first.trained.items():
        other = second.trained.get(seed)
        if other is None or one.arrays is None or other.arrays is None:
            continue
        if not _same_images(one.arrays, other.arrays):
            continue
        if math.isnan(one.mean_auroc) or math.isnan(other.mean_auroc):
            continue
        assert one.ranking is not None
        assert other.ranking is not None
        yield RankTest(seed, one.mean_auroc, other.mean_auroc, (one.ranking, other.ranking))


def _same_images(one: CellArrays, other: CellArrays) -> bool:
    groups = one.test_groups, other.test_groups
    if groups[0] is None or groups[1] is None:
        alike = groups[0] is groups[1]
    else:
        alike = np.array_equal(groups[0], groups[1])
    return alike and np.array_equal(one.test_labels, other.test_labels)


@dataclass(frozen=True)
class RelativeSpeed:
    """Speed of a variant over that of another."""

    outcome: Outcome
    to: Outcome | None
    """None where there is nothing to compare it with."""
    estimate: Estimate | None
    """None where the two were never interleaved, and of the reference itself."""
    doubt: str
    """Why no difference is claimed; empty: nothing speaks against it."""


def relative_speed(workload: Workload, outcome: Outcome) -> RelativeSpeed:
    """Of a ranked variant over the reference, of a tuned one over its base, of a bound over the
    first that is ranked; an idiom is compared with nothing.

    The intervals of one role hold together: of what is ranked for every pair, because the fastest
    is picked among all.
    """
    other, comparisons = None, len(workload.with_role(outcome.role))
    if outcome.role == workload.ranked_role:
        other, comparisons = workload.reference, workload.speed_comparisons
    elif outcome.role == "tuned":
        other = workload.base_of(outcome)
    elif outcome.role == "bound":
        other = next(iter(workload.ranked), None)
    if other is None or other is outcome or not outcome.trained:
        return RelativeSpeed(outcome, other, None, "")
    estimate = paired_speed(outcome, other, comparisons=comparisons)
    return RelativeSpeed(outcome, other, estimate, doubt(outcome, other))

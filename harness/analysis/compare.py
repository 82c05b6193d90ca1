"""Runs side by side: what was held identical, what differs, and how surely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.analysis.identity import ITEMS
from harness.analysis.paired import PairedTests
from harness.analysis.run import Outcome, Run, Trained, Workload
from harness.analysis.speed import Speed, geometric_mean, has_gemm, ratio, speed_of
from harness.errors import BenchError
from harness.plugins import canonical
from harness.results.folder import DatasetEntry, RunFolder
from harness.results.records import CellResult
from harness.stats.statistics import SIGNIFICANCE, Estimate

Judgement = Literal["faster", "slower", "not significant", "too few rounds", "not judged"]
ENVIRONMENT = (
    "cpu", "cpu_flags", "cores_logical", "governor", "memory_bytes", "system", "kernel", "machine",
    "python", "numpy_blas", "git_commit",
)  # fmt: skip
"""What of a run's environment bears on its numbers; ``versions`` are compared one by one."""


@dataclass(frozen=True)
class Key:
    """What is compared; written as ``--variants`` takes it."""

    framework: str
    model: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.framework}/{self.model}/{self.dataset}"


@dataclass(frozen=True)
class AccuracyDifference:
    """Accuracy of a run less the base's."""

    value: float
    """Mean over the seeds of both; without any in common, of the means."""
    p: float | None
    """Exact McNemar on the same test images, times the number of seeds, the smallest of them.
    None where predictions were not kept, or no seed is in common."""
    significant: bool
    """Without predictions: whether the intervals of the two lie apart."""


@dataclass(frozen=True)
class Against:
    """One variant of a run, compared with the base's."""

    ratio: Estimate
    """Of speeds, over the base's."""
    accuracy: AccuracyDifference
    auroc: Estimate | None
    """Mean AUROC less the base's with its interval, mean of the seeds; None where there is none."""
    doubt: str = ""
    """Why no difference in speed is claimed: what disturbed either run; empty: nothing."""

    @property
    def judgement(self) -> Judgement:
        return judge(self.ratio, self.doubt)


@dataclass(frozen=True)
class ComparedVariant:
    """One variant, model and data set in all runs."""

    key: Key
    outcomes: tuple[Outcome, ...]
    measured: tuple[Estimate, ...]
    """Images a second in every run, as its report has them: intervals within that run."""
    against: tuple[Against, ...]
    """Every run but the base."""


@dataclass(frozen=True)
class Compared:
    """Several runs, the first of which is the base."""

    runs: tuple[Run, ...]
    variants: tuple[ComparedVariant, ...]
    normalised: bool
    """Whether ratios are of speeds divided by that of a matrix product."""
    faults: tuple[str, ...]
    """What was not held identical."""
    notes: tuple[str, ...]
    """What differs without spoiling the comparison, or was left out."""

    def mean(self, index: int) -> Estimate | None:
        """Geometric mean of the ratios of run ``index`` (1 is the first after the base).

        None where fewer than two variants have a ratio that is judged.
        """
        ratios = [each.ratio for each in (row.against[index - 1] for row in self.variants)
                  if not each.doubt]  # fmt: skip
        known = [each for each in ratios if each.has_interval]
        return geometric_mean(known) if len(known) > 1 else None


def judge(ratio: Estimate, doubt: str = "") -> Judgement:
    """What the interval of a ratio of speeds allows to be said, unless there is a ``doubt``."""
    if not ratio.has_interval:
        return "too few rounds"
    if doubt:
        return "not judged"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "not significant"


def letter(index: int) -> str:
    """What run ``index`` is called in tables: A, B, ..."""
    return chr(ord("A") + index)


def compare(paths: Sequence[Path], *, variants: Sequence[str] = (), raw: bool = False) -> Compared:
    """Read the runs at ``paths`` and compare every variant that all of them have.

    ``variants`` chooses some by patterns such as ``FRAMEWORK/*/DATASET``; ``raw`` leaves speeds
    as they were measured, which is also done where a run has no speeds of matrix products.

    Raises:
        BenchError: a run cannot be read, or there is no variant in common.
    """
    runs = tuple(Run.read(RunFolder.open(path)) for path in paths)
    every = [outcomes_of(run) for run in runs]
    keys, notes = _common(every, variants)
    lacking = [
        letter(index)
        for index, (run, outcomes) in enumerate(zip(runs, every, strict=True))
        if not all(has_gemm(_results(outcomes[k]), run.manifest.experiment.device) for k in keys)
    ]
    if lacking and not raw:
        notes.append(
            f"speeds are as measured: {', '.join(lacking)} did not take the speed of a matrix "
            "product, where it trained, before every round"
        )
    normalise = not raw and not lacking
    found = [_variant(runs, key, [each[key] for each in every], normalise) for key in keys]
    for index, run in enumerate(runs[1:], start=1):
        seeds = [each.manifest.experiment.seeds for each in (runs[0], run)]
        if set(seeds[0]) != set(seeds[1]):
            listed = "; ".join(", ".join(map(str, each)) for each in seeds)
            notes.append(
                f"{letter(index)} trained from other seeds than A ({listed}): accuracies are "
                "compared on those in common, where there are any"
            )
        notes += [
            f"{letter(index)} differs from A in {line}"
            for line in environment_differences(runs[0].folder, run.folder)
        ]
    return Compared(
        runs=runs,
        variants=tuple(found),
        normalised=normalise,
        faults=tuple(_faults(runs, found)),
        notes=tuple(notes),
    )


def environment_differences(one: RunFolder, other: RunFolder) -> list[str]:
    """Machine and versions that two runs do not share: 'numpy: 2.1.0, 2.2.0'."""
    before, after = (_telling(folder) for folder in (one, other))
    return [
        f"{name}: {_shown(before.get(name))}, {_shown(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def setting_differences(one: RunFolder, other: RunFolder) -> list[str]:
    """Settings that decide what is computed, or on how many cores: 'epochs: 5, 20'."""
    before, after = (_settings(folder) for folder in (one, other))
    return [
        f"{name}: {_shown(value)}, {_shown(after[name])}"
        for name, value in before.items()
        if value != after[name]
    ]


def busy(base: Outcome, other: Outcome) -> str:
    """What other work went on while either was timed, if it was more than a claim allows."""
    found = {name: each.other_work for name, each in (("A", base), ("B", other))}
    return "; ".join(f"{name}: {what}" for name, what in found.items() if what)


def speed_in(outcome: Outcome, *, normalise: bool) -> Speed:
    """Speed of one variant of a run."""
    return speed_of(_results(outcome), normalise=normalise)


def pair(workload: Workload, first: Outcome, second: Outcome) -> Workload:
    """The same variant of two runs, as a workload whose tests pair them."""
    return Workload(
        workload.dataset, workload.model, workload.entry, workload.card, (first, second)
    )


def accuracy_difference(workload: Workload, base: Outcome, other: Outcome) -> AccuracyDifference:
    """Of ``other`` less ``base``, paired by test image where both kept their predictions."""
    pairs = PairedTests.of(pair(workload, base, other))
    if pairs.pairs:
        tests = pairs.pairs[0].tests
        gains = [(t.paired.only_second - t.paired.only_first) / t.examples for t in tests]
        p = min(pairs.corrected(test.paired.p) for test in tests)
        return AccuracyDifference(float(np.mean(gains)), p, significant=p < SIGNIFICANCE)
    one, two = base.accuracy, other.accuracy
    apart = one.high < two.low or two.high < one.low
    return AccuracyDifference(two.value - one.value, None, significant=apart)


def _results(outcome: Outcome) -> list[CellResult]:
    return [cell.result for cell in outcome.trained.values()]


def outcomes_of(run: Run) -> dict[Key, Outcome]:
    """Every variant of a run."""
    return {
        Key(outcome.framework, workload.model, workload.dataset): outcome
        for workload in run.workloads
        for outcome in workload.outcomes
    }


def _common(
    every: Sequence[Mapping[Key, Outcome]], patterns: Sequence[str]
) -> tuple[list[Key], list[str]]:
    """What all runs trained and is wanted, and what was left out."""
    present = list(dict.fromkeys(key for outcomes in every for key in outcomes))
    # The framework of a pattern may be written as earlier versions called it.
    patterns = ["/".join([canonical(p.split("/")[0]), *p.split("/")[1:]]) for p in patterns]
    wanted = [
        key for key in present if not patterns or any(fnmatchcase(str(key), p) for p in patterns)
    ]
    unmatched = [p for p in patterns if not any(fnmatchcase(str(key), p) for key in present)]
    if unmatched:
        raise BenchError(
            f"--variants: nothing is called {unmatched[0]}; there are "
            f"{', '.join(map(str, present))}"
        )
    keys, notes = [], []
    for key in wanted:
        lacking = [
            letter(index)
            for index, outcomes in enumerate(every)
            if key not in outcomes or not outcomes[key].trained
        ]
        if lacking:
            notes.append(f"{key} is left out: nothing trained in {', '.join(lacking)}")
        else:
            keys.append(key)
    if not keys:
        raise BenchError("the runs have no variant, model and data set in common that trained")
    return keys, notes


def _variant(
    runs: Sequence[Run], key: Key, outcomes: Sequence[Outcome], normalise: bool
) -> ComparedVariant:
    base, *others = outcomes
    speeds = [speed_in(outcome, normalise=normalise) for outcome in outcomes]
    workload = workload_of(runs[0], key)
    return ComparedVariant(
        key=key,
        outcomes=tuple(outcomes),
        measured=tuple(outcome.speed for outcome in outcomes),
        against=tuple(
            Against(
                ratio=ratio(speed, speeds[0]),
                accuracy=accuracy_difference(workload, base, other),
                auroc=_auroc_difference(workload, base, other),
                doubt=busy(base, other),
            )
            for other, speed in zip(others, speeds[1:], strict=True)
        ),
    )


def workload_of(run: Run, key: Key) -> Workload:
    """The workload that a variant belongs to."""
    return next(g for g in run.workloads if (g.model, g.dataset) == (key.model, key.dataset))


def _auroc_difference(workload: Workload, base: Outcome, other: Outcome) -> Estimate | None:
    pairs = PairedTests.of(pair(workload, other, base))
    tests = pairs.pairs[0].rank_tests if pairs.pairs else ()
    if not tests:
        return None
    differences = np.array([test.difference(len(tests)) for test in tests])
    value, low, high = differences.mean(axis=0)
    return Estimate(float(value), float(low), float(high))


def _faults(runs: Sequence[Run], variants: Sequence[ComparedVariant]) -> Iterator[str]:
    base = runs[0]
    for index, run in enumerate(runs[1:], start=1):
        name = letter(index)
        for line in setting_differences(base.folder, run.folder):
            yield f"A and {name} differ in {line}"
        for dataset in dict.fromkeys(row.key.dataset for row in variants):
            entries = (each.manifest.datasets[dataset] for each in (base, run))
            if not DatasetEntry.same_content(*entries):
                yield f"A and {name} differ in the data of {dataset} (SHA-256)"
        for row in variants:
            for item, seeds in unlike(row.outcomes[0].trained, row.outcomes[index].trained).items():
                if item != "data":  # said above
                    yield f"A and {name} differ in the {ITEMS[item]} of {row.key}, seed {seeds}"


def unlike(one: Mapping[int, Trained], other: Mapping[int, Trained]) -> dict[str, str]:
    """Items that should be identical and are not -> the seeds where they differ."""
    found: dict[str, list[str]] = {}
    for seed in (seed for seed in one if seed in other):
        for item in ITEMS:
            digests = {getattr(each[seed].identity, item) for each in (one, other)}
            if len(digests - {""}) > 1:  # an empty one was not recorded
                found.setdefault(item, []).append(str(seed))
    return {item: ", ".join(seeds) for item, seeds in found.items()}


def _settings(folder: RunFolder) -> dict[str, Any]:
    """Flat; weights to start from by their content and not by their path."""
    experiment = folder.manifest.experiment
    settings: dict[str, Any] = {"threads": experiment.threads, "device": experiment.device}
    for name, value in experiment.training.model_dump(exclude={"initial_weights"}).items():
        inner = value if isinstance(value, dict) else {"": value}
        settings |= {f"{name} {key}".rstrip(): each for key, each in inner.items()}
    digest = folder.manifest.initial_weights_sha256
    return settings | {"file of initial weights (SHA-256)": digest}


def _telling(folder: RunFolder) -> dict[str, Any]:
    recorded = folder.environment
    known = {name: recorded.get(name) for name in ENVIRONMENT}
    versions = recorded.get("versions")
    return (
        {"harness": folder.manifest.harness_version}
        | known
        | (versions if isinstance(versions, dict) else {})
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)

"""Runs side by side: what was held identical, what differs, and how surely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.analysis.comparison import Group, Outcome, Run, Trained
from harness.errors import BenchError
from harness.plugins import canonical
from harness.report.identity import ITEMS
from harness.results.folder import DatasetEntry, RunFolder
from harness.results.records import CellResult
from harness.results.speed import Speed, geometric_mean, has_gemm, ratio, speed_of
from harness.stats.statistics import Estimate

Verdict = Literal["faster", "slower", "not significant", "too few rounds", "not judged"]
TELLING = (
    "cpu", "cpu_flags", "cores_logical", "governor", "memory_bytes", "system", "kernel", "machine",
    "python", "numpy_blas", "git_commit",
)  # fmt: skip
"""What of a run's environment bears on its numbers; ``versions`` are compared one by one."""


@dataclass(frozen=True)
class Key:
    """What one row is about; written as ``--rows`` takes it."""

    framework: str
    model: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.framework}/{self.model}/{self.dataset}"


@dataclass(frozen=True)
class ScoreDifference:
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
    """One row of a run, compared with the base's."""

    ratio: Estimate
    """Of speeds, over the base's."""
    accuracy: ScoreDifference
    auroc: Estimate | None
    """Mean AUROC less the base's with its interval, mean of the seeds; None where there is none."""
    doubt: str = ""
    """Why no difference in speed is claimed: what disturbed either run; empty: nothing."""

    @property
    def verdict(self) -> Verdict:
        return judge(self.ratio, self.doubt)


@dataclass(frozen=True)
class Row:
    """One framework, network and data set in all runs."""

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
    rows: tuple[Row, ...]
    normalised: bool
    """Whether ratios are of speeds divided by that of a matrix product."""
    faults: tuple[str, ...]
    """What was not held identical."""
    notes: tuple[str, ...]
    """What differs without spoiling the comparison, or was left out."""

    def mean(self, place: int) -> Estimate | None:
        """Geometric mean of the ratios of run ``place`` (1 is the first after the base).

        None where fewer than two rows have a ratio that is judged.
        """
        ratios = [each.ratio for each in (row.against[place - 1] for row in self.rows)
                  if not each.doubt]  # fmt: skip
        known = [each for each in ratios if each.has_interval]
        return geometric_mean(known) if len(known) > 1 else None


def judge(ratio: Estimate, doubt: str = "") -> Verdict:
    """What the interval of a ratio of speeds allows to be said, unless there is a ``doubt``."""
    if not ratio.has_interval:
        return "too few rounds"
    if doubt:
        return "not judged"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "not significant"


def letter(place: int) -> str:
    """What run ``place`` is called in tables: A, B, ..."""
    return chr(ord("A") + place)


def compare(paths: Sequence[Path], *, rows: Sequence[str] = (), raw: bool = False) -> Compared:
    """Read the runs at ``paths`` and compare every row that all of them have.

    ``rows`` chooses some of these by patterns such as ``torch/*/digits``; ``raw`` leaves speeds as
    they were measured, which is also done where a run has no speeds of matrix products.

    Raises:
        BenchError: a run cannot be read, or there is no row in common.
    """
    runs = tuple(Run.read(RunFolder.open(path)) for path in paths)
    every = [outcomes_of(run) for run in runs]
    keys, notes = _common(every, rows)
    lacking = [
        letter(place)
        for place, (run, outcomes) in enumerate(zip(runs, every, strict=True))
        if not all(has_gemm(_results(outcomes[k]), run.manifest.experiment.device) for k in keys)
    ]
    if lacking and not raw:
        notes.append(
            f"speeds are as measured: {', '.join(lacking)} did not take the speed of a matrix "
            "product, where it trained, before every round"
        )
    normalise = not raw and not lacking
    found = [_row(runs, key, [each[key] for each in every], normalise) for key in keys]
    for place, run in enumerate(runs[1:], start=1):
        seeds = [each.manifest.experiment.seeds for each in (runs[0], run)]
        if set(seeds[0]) != set(seeds[1]):
            listed = "; ".join(", ".join(map(str, each)) for each in seeds)
            notes.append(
                f"{letter(place)} trained from other seeds than A ({listed}): accuracies are "
                "compared on those in common, where there are any"
            )
        notes += [
            f"{letter(place)} differs from A in {line}"
            for line in environment_differences(runs[0].folder, run.folder)
        ]
    return Compared(
        runs=runs,
        rows=tuple(found),
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
    """Settings that decide what is computed, or on how many processors: 'epochs: 5, 20'."""
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
    """Speed of one row of a run."""
    return speed_of(_results(outcome), normalise=normalise)


def pair(group: Group, first: Outcome, second: Outcome) -> Group:
    """The same row of two runs, as a group whose tests pair them."""
    return Group(group.dataset, group.model, group.entry, group.card, (first, second))


def accuracy_difference(group: Group, base: Outcome, other: Outcome) -> ScoreDifference:
    """Of ``other`` less ``base``, paired by test image where both kept their predictions."""
    pairs = pair(group, base, other)
    if pairs.pairs:
        tests = pairs.pairs[0].tests
        gains = [(t.paired.only_second - t.paired.only_first) / t.examples for t in tests]
        p = min(pairs.corrected(test.paired.p) for test in tests)
        return ScoreDifference(float(np.mean(gains)), p, significant=p < 0.05)
    one, two = base.accuracy, other.accuracy
    apart = one.high < two.low or two.high < one.low
    return ScoreDifference(two.value - one.value, None, significant=apart)


def _results(outcome: Outcome) -> list[CellResult]:
    return [cell.result for cell in outcome.trained.values()]


def outcomes_of(run: Run) -> dict[Key, Outcome]:
    """Every row of a run."""
    return {
        Key(outcome.framework, group.model, group.dataset): outcome
        for group in run.groups
        for outcome in group.outcomes
    }


def _common(
    every: Sequence[Mapping[Key, Outcome]], patterns: Sequence[str]
) -> tuple[list[Key], list[str]]:
    """Rows that all runs trained and that are wanted, and what was left out."""
    present = list(dict.fromkeys(key for outcomes in every for key in outcomes))
    # The framework of a pattern may be written as earlier versions called it.
    patterns = ["/".join([canonical(p.split("/")[0]), *p.split("/")[1:]]) for p in patterns]
    wanted = [
        key for key in present if not patterns or any(fnmatchcase(str(key), p) for p in patterns)
    ]
    unmatched = [p for p in patterns if not any(fnmatchcase(str(key), p) for key in present)]
    if unmatched:
        raise BenchError(
            f"--rows: nothing is called {unmatched[0]}; there are {', '.join(map(str, present))}"
        )
    keys, notes = [], []
    for key in wanted:
        lacking = [
            letter(place)
            for place, outcomes in enumerate(every)
            if key not in outcomes or not outcomes[key].trained
        ]
        if lacking:
            notes.append(f"{key} is left out: nothing trained in {', '.join(lacking)}")
        else:
            keys.append(key)
    if not keys:
        raise BenchError("the runs have no framework, network and data set in common that trained")
    return keys, notes


def _row(runs: Sequence[Run], key: Key, outcomes: Sequence[Outcome], normalise: bool) -> Row:
    base, *others = outcomes
    speeds = [speed_in(outcome, normalise=normalise) for outcome in outcomes]
    group = group_of(runs[0], key)
    return Row(
        key=key,
        outcomes=tuple(outcomes),
        measured=tuple(outcome.speed for outcome in outcomes),
        against=tuple(
            Against(
                ratio=ratio(speed, speeds[0]),
                accuracy=accuracy_difference(group, base, other),
                auroc=_auroc_difference(group, base, other),
                doubt=busy(base, other),
            )
            for other, speed in zip(others, speeds[1:], strict=True)
        ),
    )


def group_of(run: Run, key: Key) -> Group:
    """The group that a row belongs to."""
    return next(g for g in run.groups if (g.model, g.dataset) == (key.model, key.dataset))


def _auroc_difference(group: Group, base: Outcome, other: Outcome) -> Estimate | None:
    pairs = pair(group, other, base)
    tests = pairs.pairs[0].rank_tests if pairs.pairs else ()
    if not tests:
        return None
    differences = np.array([test.difference(len(tests)) for test in tests])
    value, low, high = differences.mean(axis=0)
    return Estimate(float(value), float(low), float(high))


def _faults(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[str]:
    base = runs[0]
    for place, run in enumerate(runs[1:], start=1):
        name = letter(place)
        for line in setting_differences(base.folder, run.folder):
            yield f"A and {name} differ in {line}"
        for dataset in dict.fromkeys(row.key.dataset for row in rows):
            entries = (each.manifest.datasets[dataset] for each in (base, run))
            if not DatasetEntry.same_content(*entries):
                yield f"A and {name} differ in the data of {dataset} (SHA-256)"
        for row in rows:
            for item, seeds in unlike(row.outcomes[0].trained, row.outcomes[place].trained).items():
                if item != "data":  # said above
                    yield f"A and {name} differ in the {ITEMS[item]} of {row.key}, seed {seeds}"


def unlike(one: Mapping[int, Trained], other: Mapping[int, Trained]) -> dict[str, str]:
    """Items that should be identical and are not -> the seeds where they differ."""
    found: dict[str, list[str]] = {}
    for seed in one:
        for item in ITEMS:
            if seed in other and getattr(one[seed].identity, item) != getattr(
                other[seed].identity, item
            ):
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
    known = {name: recorded.get(name) for name in TELLING}
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

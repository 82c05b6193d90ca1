"""What a reader of a run must be warned of: data that a report turns into sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from harness.analysis.agreement import TOLERANCE, LossAgreement, loss_agreements, loss_drift
from harness.analysis.identity import checks
from harness.analysis.run import Outcome, Run, Trained, Workload, interleaved, seeds_read
from harness.analysis.speed import BUSY
from harness.measure.conditions import Conditions, mean_other_load
from harness.plugins import backends
from harness.stats import noise
from harness.variables import decisive

OTHER_LOAD = 0.1
"""Cores used by other work, of each that the run uses, that a reader must know of."""
CLOCK = 1.1
"""Largest over smallest clock of one training."""
GEMM = 1.25
"""Upper over lower decile of the machine's own matrix product in one run."""
OUTLYING = 0.1
"""Share of rounds far from the median that a reader must know of."""
AREA = 1e-9
"""Largest difference between an AUROC as stored and as computed again."""

Kind = Literal[
    "not identical", "test labels differ", "counts disagree", "aurocs disagree", "loss is nan",
    "other computation", "losses drift apart", "failed", "extra missing", "not run", "unsteady",
    "drift", "two speeds", "outliers", "other load", "clock", "machine varied", "heat", "swap",
    "not interleaved", "arrays missing", "skipped", "machine busy", "variables",
    "mixed environments", "uncommitted", "first seeds",
]  # fmt: skip
Severity = Literal["invalid", "caution", "note"]
INVALID = {
    "not identical", "test labels differ", "counts disagree", "aurocs disagree", "loss is nan",
    "other computation",
}  # fmt: skip
"""Kinds after which numbers must not be compared."""
NOTES = {"skipped", "extra missing", "arrays missing", "uncommitted", "first seeds"}
"""Kinds that limit what is shown and not whether it can be trusted."""


@dataclass(frozen=True)
class Finding:
    """One thing to know before trusting a run."""

    kind: Kind
    workload: Workload | None = None
    outcome: Outcome | None = None
    """The variant that it is about; None: the whole workload, or the run."""
    seeds: tuple[int, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    """Numbers and names, by kind; see the function that makes it."""

    @property
    def severity(self) -> Severity:
        if self.kind in INVALID:
            return "invalid"
        return "note" if self.kind in NOTES else "caution"


def findings(run: Run) -> list[Finding]:
    """Everything to be warned of, worst first."""
    looks = (_not_identical, _recount, _losses, _failures, _extras, _incomplete, _lost)
    of_speeds = (_unsteady, _rounds, _other_load, _clock, _machine, _heat, _swap, _apart)
    found = [
        finding
        for workload in run.workloads
        for look in (*looks, *(of_speeds if workload.timed else ()))
        for finding in look(run, workload)
    ]
    for name, reason in run.manifest.skipped.items():
        found.append(Finding("skipped", values={"framework": name, "reason": reason}))
    found += _circumstances(run)
    return sorted(found, key=lambda finding: finding.severity == "note")


def _circumstances(run: Run) -> Iterator[Finding]:
    """What makes the machine or the code less than trustworthy."""
    recorded = run.folder.environment
    cores, load = recorded.get("cores_logical"), recorded.get("load_average")
    # The average looks back a minute before the run: it counts where nothing was measured since.
    measured = any(
        not o.timed or o.other_load is not None for w in run.workloads for o in w.finished
    )
    if (
        not measured
        and isinstance(cores, int)
        and isinstance(load, list)
        and load
        and load[0] > BUSY * cores
    ):
        yield Finding("machine busy", values={"load": load[0], "cores": cores})
    if named := decisive(recorded.get("variables") or {}):
        yield Finding("variables", values=named)
    read, seeds = len(seeds_read(run.manifest)), len(run.manifest.experiment.seeds)
    if read < seeds:
        yield Finding("first seeds", values={"read": read, "seeds": seeds})
    if changes := run.folder.environment_changes(run.results.values()):
        yield Finding("mixed environments", values={"changes": changes})
    if str(recorded.get("git_commit")).endswith("-dirty"):
        yield Finding("uncommitted")


def _not_identical(run: Run, workload: Workload) -> Iterator[Finding]:
    for check in checks(workload):
        if not check.identical:
            yield Finding("not identical", workload, None, (check.seed,), {"item": check.item})
    for seed in workload.seeds:
        labels = [
            cell.arrays.test_labels
            for outcome in workload.finished
            if (cell := outcome.trained.get(seed)) is not None and cell.arrays is not None
        ]
        if any(not np.array_equal(labels[0], other) for other in labels[1:]):
            yield Finding("test labels differ", workload, None, (seed,))


def _recount(run: Run, workload: Workload) -> Iterator[Finding]:
    """Stored results against the stored predictions."""
    for outcome in workload.finished:
        for seed, cell in outcome.trained.items():
            if cell.correct is None or cell.ranking is None:
                continue
            counted = int(cell.correct.sum()), cell.correct.size
            stored = cell.test.correct, cell.test.examples
            if counted != stored:
                values = {"counted": counted, "stored": stored}
                yield Finding("counts disagree", workload, outcome, (seed,), values)
            areas = [math.nan if area is None else area for area in cell.test.auroc]
            if areas and not _alike(cell.ranking.areas, np.array(areas)):
                yield Finding("aurocs disagree", workload, outcome, (seed,))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=AREA, equal_nan=True)


def _losses(run: Run, workload: Workload) -> Iterator[Finding]:
    """Losses against the reference's."""
    precision = run.manifest.experiment.training.precision
    tolerance = TOLERANCE[precision]
    drifted: dict[str, list[LossAgreement]] = {}
    outcomes = {outcome.framework: outcome for outcome in workload.finished}
    drift = loss_drift(run, workload)
    for each in loss_agreements(run, workload, drift):
        spec = backends().get(each.framework)
        if spec is not None and spec.lower_precision:
            continue  # another arithmetic, which the note on that variant says
        about = workload, outcomes[each.framework], (each.seed,)
        if each.steps and math.isnan(each.largest_difference):
            yield Finding("loss is nan", *about, {"steps": each.steps})
        elif each.first_difference > tolerance:
            values = {"difference": each.first_difference, "tolerance": tolerance}
            yield Finding("other computation", *about, values)
        elif each.apart is not None:
            drifted.setdefault(each.framework, []).append(each)
    for framework, found in drifted.items():
        step, difference, expected = min(each.apart for each in found if each.apart)
        yield Finding(
            "losses drift apart",
            workload,
            outcomes[framework],
            tuple(each.seed for each in found),
            {
                "step": step,
                "difference": difference,
                "expected": expected,
                "precision": precision,
                "measured in": drift and drift.framework,
            },
        )


def _failures(run: Run, workload: Workload) -> Iterator[Finding]:
    for outcome in workload.outcomes:
        for seed, result in outcome.failed.items():
            values = {"how": result.outcome, "reason": result.error, "cell": result.cell.id}
            yield Finding("failed", workload, outcome, (seed,), values)


def _extras(run: Run, workload: Workload) -> Iterator[Finding]:
    for outcome in workload.finished:
        for seed, cell in outcome.trained.items():
            for name, extra in cell.result.unfinished.items():
                values = {"name": name, "reason": extra.message}
                yield Finding("extra missing", workload, outcome, (seed,), values)


def _incomplete(run: Run, workload: Workload) -> Iterator[Finding]:
    for outcome in workload.outcomes:
        if outcome.missing:
            yield Finding("not run", workload, outcome, outcome.missing)


def _unsteady(run: Run, workload: Workload) -> Iterator[Finding]:
    for outcome in workload.finished:
        if not outcome.is_steady:
            yield Finding("unsteady", workload, outcome, (), {"factor": outcome.unsteadiness})


def _rounds(run: Run, workload: Workload) -> Iterator[Finding]:
    """What the speeds of one variant show by themselves."""
    for outcome in workload.finished:
        speeds = {seed: cell.images_per_second for seed, cell in outcome.trained.items()}
        drifts = {s: change for s, each in speeds.items() if (change := noise.drift(each))}
        if drifts:
            change = max(drifts.values(), key=abs)
            yield Finding("drift", workload, outcome, tuple(drifts), {"change": change})
        clusters = noise.two_speeds_of_each(list(speeds.values()))
        split = {s: found for s, found in zip(speeds, clusters, strict=True) if found}
        if split:
            seed, found = max(split.items(), key=lambda item: item[1].faster / item[1].slower)
            values = found._asdict() | {"seed": seed}
            yield Finding("two speeds", workload, outcome, tuple(split), values)
        slow = sum(map(noise.outliers, speeds.values()))
        rounds = sum(each.size for each in speeds.values())
        if slow > OUTLYING * rounds:
            yield Finding("outliers", workload, outcome, (), {"outliers": slow, "rounds": rounds})


def _other_load(run: Run, workload: Workload) -> Iterator[Finding]:
    threads = run.manifest.experiment.threads
    loads = {}
    for outcome in workload.finished:
        rounds = [each for cell in outcome.trained.values() for each in cell.result.rounds]
        mean = mean_other_load((each.seconds, each.conditions) for each in rounds)
        if mean is not None and mean > OTHER_LOAD * threads:
            loads[outcome.title] = mean
    if loads:
        yield Finding("other load", workload, values={"threads": threads, "loads": loads})


def _clock(run: Run, workload: Workload) -> Iterator[Finding]:
    varied = {}
    for outcome in workload.finished:
        seen = [c.clock_mhz for c in _conditions(outcome.trained.values())]
        clocks = [clock for clock in seen if clock is not None]
        if clocks and max(clocks) > CLOCK * min(clocks):
            varied[outcome.title] = min(clocks), max(clocks)
    if varied:
        yield Finding("clock", workload, values={"clocks": varied})


def _machine(run: Run, workload: Workload) -> Iterator[Finding]:
    speeds = [c.gemm_gflops for c in _conditions(_cells(workload))]
    if len(speeds) < noise.TREND_ROUNDS or run.manifest.experiment.device != "cpu":
        return
    low, high = map(float, np.quantile(speeds, (0.1, 0.9)))
    if high > GEMM * low:
        yield Finding("machine varied", workload, values={"low": low, "high": high})


def _heat(run: Run, workload: Workload) -> Iterator[Finding]:
    count = sum(c.throttled or 0 for c in _conditions(_cells(workload)))
    if count:
        yield Finding("heat", workload, values={"count": count})


def _swap(run: Run, workload: Workload) -> Iterator[Finding]:
    swapped = sum(c.swapped_bytes or 0 for c in _conditions(_cells(workload)))
    if swapped:
        yield Finding("swap", workload, values={"bytes": swapped})


def _apart(run: Run, workload: Workload) -> Iterator[Finding]:
    reference = workload.reference
    for outcome in workload.finished if reference else ():
        for seed, cell in outcome.trained.items():
            other = reference.trained.get(seed) if reference else None
            if other is not None and not interleaved(cell, other):
                yield Finding("not interleaved", workload, outcome, (seed,))


def _lost(run: Run, workload: Workload) -> Iterator[Finding]:
    lost = sum(cell.arrays is None and not cell.unread for cell in _cells(workload))
    if lost:
        yield Finding("arrays missing", workload, values={"cells": lost})


def _cells(workload: Workload) -> list[Trained]:
    return [cell for outcome in workload.finished for cell in outcome.trained.values()]


def _conditions(cells: Iterable[Trained]) -> list[Conditions]:
    rounds = [each for cell in cells for each in cell.result.rounds]
    return [each.conditions for each in rounds if each.conditions is not None]

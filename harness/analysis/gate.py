"""The gate: does a variant still reach the metrics and the speed of its baseline?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.analysis.baseline import (
    Baseline,
    Bounds,
    Key,
    RunSpeed,
    auroc_bounds,
    bounds,
    further_metrics,
    metric_bounds,
    metric_values,
    speed_in,
)
from harness.analysis.speed import ratio_to_runs
from harness.config import Training
from harness.errors import BenchError
from harness.plan import Cell
from harness.results.folder import RunFolder
from harness.results.records import CellResult
from harness.stats.metrics import mean_auroc
from harness.stats.statistics import Estimate

MAX_SLOWDOWN = 1.02
"""What the gate lets pass, as a factor. With five starts on each side it notices 1.15."""
MOST_UNCERTAIN = 2.0
"""Upper end of a ratio of speeds over the ratio itself, beyond which the gate does not pass it: it
would not notice a framework so many times slower than what passes."""

Status = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class MetricCheck:
    """One metric against its bounds. Too high a value fails too: test images may have leaked."""

    metric: str
    value: float
    bounds: Bounds

    @property
    def status(self) -> Status:
        return "passed" if self.bounds.low <= self.value <= self.bounds.high else "failed"


@dataclass(frozen=True)
class SpeedCheck:
    """Speed relative to matrix products against the baseline's."""

    status: Status
    reason: Literal["", "slower", "no baseline", "too few rounds", "other machine", "disturbed",
                    "too uncertain"] = ""  # fmt: skip
    """Why it failed or was not checked."""
    ratio: Estimate | None = None
    """Over the baseline's; more than 1 is faster."""
    starts: int = 0
    """Fresh starts of the run."""
    baseline_starts: int = 0
    baseline_runs: int = 0
    max_slowdown: float = MAX_SLOWDOWN
    machine: tuple[str, int, str] | None = None
    """CPU, threads and device that the baseline has no speed of."""
    disturbance: str = ""

    @property
    def faster(self) -> bool:
        """Whether it is surely faster, so that the baseline is out of date."""
        return self.status == "passed" and self.ratio is not None and self.ratio.low > 1


@dataclass(frozen=True)
class VariantCheck:
    """One variant, model and data set."""

    key: Key
    failed_cells: tuple[tuple[Cell, CellResult | None], ...] = ()
    """Cells that failed, or have not run (None)."""
    examples: tuple[int, int] | None = None
    """Test images of the run and of the baseline, where these differ."""
    metrics: tuple[MetricCheck, ...] = ()
    speed: SpeedCheck | None = None
    unchecked: Literal["", "no baseline", "skipped"] = ""
    skipped: str = ""
    """Why the run left it out."""
    seeds: tuple[int, ...] = ()
    """Of the baseline."""

    @property
    def parts(self) -> tuple[MetricCheck | SpeedCheck, ...]:
        return (*self.metrics, *([self.speed] if self.speed else []))

    @property
    def status(self) -> Status:
        """'failed' where anything did, 'passed' where anything was checked, else 'not checked'."""
        statuses = {part.status for part in self.parts}
        if self.failed_cells or self.examples or "failed" in statuses:
            return "failed"
        return "passed" if "passed" in statuses else "not checked"

    @property
    def incomplete(self) -> bool:
        """Whether anything could not be checked."""
        return bool(self.unchecked) or any(part.status == "not checked" for part in self.parts)


def check(
    folder: RunFolder,
    baselines: Sequence[Baseline],
    *,
    accuracy: bool = True,
    speed: bool = True,
    max_slowdown: float = MAX_SLOWDOWN,
) -> list[VariantCheck]:
    """Check every variant that the run set out to train, or skipped, against ``baselines``.

    ``accuracy``: all gated metrics.

    Raises:
        BenchError: a variant trained differently from its baseline, so that the two say nothing of
            each other.
    """
    if not (max_slowdown >= 1 and math.isfinite(max_slowdown)):
        raise BenchError(f"the slowdown that passes is {max_slowdown}, expected 1 or more")
    stored = {baseline.key: baseline for baseline in baselines}
    manifest = folder.manifest
    found = []
    for key in dict.fromkeys((c.framework, c.model, c.dataset) for c in manifest.cells):
        cells = [c for c in manifest.cells if (c.framework, c.model, c.dataset) == key]
        results = {cell: folder.read_result(cell) for cell in cells}
        ended = [result for result in results.values() if result is not None]
        failed = tuple((c, r) for c, r in results.items() if r is None or r.status != "ok")
        baseline = stored.get(key)
        if baseline is None:
            found.append(VariantCheck(key, failed, unchecked="no baseline"))
            continue
        _check_training(key, baseline, manifest.experiment.training)
        if failed:
            found.append(VariantCheck(key, failed))
            continue
        values = _further(folder, cells, baseline) if accuracy else {}
        one = check_metrics(baseline, ended, values) if accuracy else VariantCheck(key)
        if speed and not one.examples:
            checked = _check_speed(baseline, speed_in(folder, key), max_slowdown)
            one = VariantCheck(key, (), None, one.metrics, checked, seeds=one.seeds)
        found.append(one)
    asked = {(model, data) for model in manifest.experiment.models for data in manifest.datasets}
    for key in stored:
        if key[0] in manifest.skipped and key[1:] in asked:
            reason = manifest.skipped[key[0]]
            found.append(VariantCheck(key, unchecked="skipped", skipped=reason))
    return found


def check_metrics(
    baseline: Baseline,
    results: Sequence[CellResult],
    further: Mapping[str, Sequence[float]] | None = None,
) -> VariantCheck:
    """``results`` of one variant, model and data set; ``further``: values of other metrics."""
    failed = tuple((r.cell, r) for r in results if r.status != "ok")
    scores = [result.test for result in results if result.test is not None]
    if failed or not scores:
        return VariantCheck(baseline.key, failed)
    if any(score.examples != baseline.examples for score in scores):
        return VariantCheck(baseline.key, examples=(scores[0].examples, baseline.examples))
    seeds = len(scores)
    accuracy = float(np.mean([score.accuracy for score in scores]))
    checks = [MetricCheck("accuracy", accuracy, bounds(baseline, seeds))]
    if baseline.auroc:
        areas = [mean_auroc(score.auroc) for score in scores]
        mean = float(np.mean([math.nan if area is None else area for area in areas]))
        checks.append(MetricCheck("auroc", mean, auroc_bounds(baseline, seeds)))
    tolerances = {metric.name: metric.tolerance or 0.0 for metric in further_metrics()}
    for name, values in (further or {}).items():
        limits = metric_bounds(baseline.metrics[name], seeds, tolerances[name])
        checks.append(MetricCheck(name, float(np.mean(values)), limits))
    return VariantCheck(baseline.key, metrics=tuple(checks), seeds=tuple(baseline.correct))


def _further(
    folder: RunFolder, cells: Sequence[Cell], baseline: Baseline
) -> dict[str, list[float]]:
    """Values of the further metrics that the baseline has; NaN without predictions."""
    chosen = [metric for metric in further_metrics() if metric.name in baseline.metrics]
    if not chosen:
        return {}
    arrays = [folder.read_arrays(cell) for cell in cells]
    kept = [each for each in arrays if each is not None]
    if len(kept) < len(arrays):
        return {metric.name: [math.nan] for metric in chosen}
    return {metric.name: metric_values(metric, kept)[0] for metric in chosen}


def _check_training(key: Key, baseline: Baseline, training: Training) -> None:
    ours, theirs = training.model_dump(), baseline.training.model_dump()
    for name, value in ours.items():
        if value != theirs[name]:
            raise BenchError(
                f"{'/'.join(key)} trained differently from its baseline: {name} {value}, there "
                f"{theirs[name]}; run with the baseline's settings, or store another baseline"
            )


def _check_speed(baseline: Baseline, found: RunSpeed | None, max_slowdown: float) -> SpeedCheck:
    if not baseline.speed:
        return SpeedCheck("not checked", "no baseline")
    if found is None:
        return SpeedCheck("not checked", "too few rounds")
    stored = [each.speed for each in baseline.speed if each.machine == found.machine]
    if not stored:
        return SpeedCheck("not checked", "other machine", machine=found.machine)
    if found.doubt:
        return SpeedCheck("not checked", "disturbed", disturbance=found.doubt)
    ratio = ratio_to_runs(found.speed, stored)

    def result(status: Status, reason: Literal["", "slower", "too uncertain"] = "") -> SpeedCheck:
        starts = sum(len(each.logs) for each in stored)
        own = len(found.speed.logs) if found else 0
        return SpeedCheck(status, reason, ratio, own, starts, len(stored), max_slowdown)

    if ratio.high < 1 / max_slowdown:
        return result("failed", "slower")
    if ratio.high / ratio.value > MOST_UNCERTAIN:
        return result("not checked", "too uncertain")
    return result("passed")

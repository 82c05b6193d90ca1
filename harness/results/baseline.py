"""The gate: does a framework still reach the accuracy and the AUROC that it reached?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from scipy import stats

from harness.config import Training
from harness.errors import BenchError
from harness.measure.metrics import binary, mean_auroc
from harness.measure.statistics import proportion, resampled_aurocs
from harness.results.folder import CellArrays, RunFolder, write_atomically
from harness.results.records import CellResult, Record

CONFIDENCE = 0.999
"""Of each bound: about one false alarm in a thousand checks for either side."""


class Baseline(Record):
    """What one framework once reached with one network on one data set, on the test split."""

    framework: str
    model: str
    dataset: str
    training: Training
    examples: int
    """Images in the test split."""
    correct: dict[int, int]
    """Seed -> test images classified correctly; with several labels, all of them."""
    auroc: dict[int, float] = Field(default_factory=dict)
    """Seed -> AUROC, of several labels the mean over those that have one."""
    auroc_error: float = 0.0
    """Its bootstrap standard error over patients, mean of the seeds."""


class Bounds(NamedTuple):
    """Between which a mean over seeds is expected."""

    low: float
    mean: float
    high: float


def bounds(baseline: Baseline, seeds: int) -> Bounds:
    """Where the mean accuracy over ``seeds`` new trainings should lie.

    Two independent sources of spread, added in quadrature, each at ``CONFIDENCE``:

    * the test split is a sample: the exact binomial interval (Clopper & Pearson 1934) at the
      baseline's mean accuracy;
    * trainings differ by seed: the prediction interval for the mean of ``seeds`` further draws
      from a normal population, t(m - 1) s sqrt(1/m + 1/seeds) with m baseline seeds of standard
      deviation s (Hahn & Meeker 1991, section 4.7). With one baseline seed s is unknown and this
      term is left out.
    """
    accuracies = np.array(list(baseline.correct.values())) / baseline.examples
    mean = float(accuracies.mean())
    sample = proportion(round(mean * baseline.examples), baseline.examples, confidence=CONFIDENCE)
    spread = _spread_of_seeds(accuracies, seeds)
    return Bounds(
        low=mean - math.hypot(mean - sample.low, spread),
        mean=mean,
        high=mean + math.hypot(sample.high - mean, spread),
    )


def auroc_bounds(baseline: Baseline, seeds: int) -> Bounds:
    """As :func:`bounds`, for the AUROC; the sample's share is normal, of its standard error."""
    areas = np.array(list(baseline.auroc.values()))
    sample = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * baseline.auroc_error
    reach = math.hypot(sample, _spread_of_seeds(areas, seeds))
    mean = float(areas.mean())
    return Bounds(low=mean - reach, mean=mean, high=mean + reach)


def _spread_of_seeds(values: NDArray[np.float64], seeds: int) -> float:
    count = len(values)
    if count < 2:
        return 0.0
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return float(quantile * values.std(ddof=1) * math.sqrt(1 / count + 1 / seeds))


def departure(baseline: Baseline, results: Sequence[CellResult]) -> str | None:
    """What is wrong with ``results`` (one framework, network and data set), or None.

    Too high a value is a departure too: it is what a leak of test images looks like.
    """
    failed = [result for result in results if result.test is None]
    if failed:
        return f"{failed[0].cell} failed: {failed[0].error}"
    scores = [result.test for result in results if result.test is not None]
    if any(score.examples != baseline.examples for score in scores):
        return f"{scores[0].examples} test images, the baseline has {baseline.examples}"
    found = {"accuracy": [score.accuracy for score in scores]}
    expected = {"accuracy": bounds(baseline, len(scores))}
    if baseline.auroc:
        areas = [mean_auroc(score.auroc) for score in scores]
        found["AUROC"] = [math.nan if area is None else area for area in areas]
        expected["AUROC"] = auroc_bounds(baseline, len(scores))
    for what, bound in expected.items():
        value = float(np.mean(found[what]))
        if bound.low <= value <= bound.high:
            continue
        side = "above" if value > bound.high else "below"  # NaN is below
        return (
            f"{baseline.framework} reaches an {what} of {value:.4f} with {baseline.model} on "
            f"{baseline.dataset}, {side} the expected {bound.low:.4f} to {bound.high:.4f} "
            f"(baseline {bound.mean:.4f}, seeds {', '.join(map(str, baseline.correct))})"
        )
    return None


def baselines_of(folder: RunFolder) -> list[Baseline]:
    """The baselines that a finished run gives.

    Raises:
        BenchError: a cell of the run is missing or has failed.
    """
    found: dict[tuple[str, str, str], Baseline] = {}
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for cell in folder.manifest.cells:
        result = folder.read_result(cell)
        if result is None or result.test is None:
            raise BenchError(f"{folder.path}: {cell} has no accuracy; finish the run with --resume")
        key = (cell.framework, cell.model, cell.dataset)
        known = found.get(key)
        area, arrays = mean_auroc(result.test.auroc), folder.read_arrays(cell)
        if area is not None and arrays is not None:
            errors[key].append(_auroc_error(folder.manifest.datasets[cell.dataset].task, arrays))
        found[key] = Baseline(
            framework=cell.framework,
            model=cell.model,
            dataset=cell.dataset,
            training=folder.manifest.experiment.training,
            examples=result.test.examples,
            correct=(known.correct if known else {}) | {cell.seed: result.test.correct},
            auroc=(known.auroc if known else {}) | ({} if area is None else {cell.seed: area}),
            auroc_error=float(np.mean(errors[key])) if errors[key] else 0.0,
        )
    return list(found.values())


def _auroc_error(task: str, arrays: CellArrays) -> float:
    """Bootstrap standard error, over patients, of the AUROC or of the mean over labels."""
    scores, labels = arrays.test_logits, arrays.test_labels
    if task == "multiclass":
        scores, labels = binary(scores, labels)
    resampled = resampled_aurocs(scores, labels, arrays.test_groups)
    return float(np.nanstd(resampled[:, ~np.isnan(resampled).all(axis=0)].mean(axis=1), ddof=1))


_FILE = TypeAdapter(list[Baseline])


def read_baselines(path: Path) -> list[Baseline]:
    """Read a baseline file.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot read baselines: {str(error).splitlines()[0]}") from error


def write_baselines(path: Path, baselines: Iterable[Baseline]) -> None:
    ordered = sorted(baselines, key=lambda b: (b.dataset, b.model, b.framework))
    write_atomically(path, _FILE.dump_json(ordered, indent=1).decode() + "\n")

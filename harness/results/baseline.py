"""The accuracy gate: is a framework still as accurate as it was?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter
from scipy import stats

from harness.config import Training
from harness.errors import BenchError
from harness.measure.statistics import proportion
from harness.results.folder import RunFolder, write_atomically
from harness.results.records import CellResult, Record

CONFIDENCE = 0.999
"""Of each bound: about one false alarm in a thousand checks for either side."""


class Baseline(Record):
    """Test accuracy that one framework once reached with one network on one data set."""

    framework: str
    model: str
    dataset: str
    training: Training
    examples: int
    """Images in the test split."""
    correct: dict[int, int]
    """Seed -> test images classified correctly."""


class Bounds(NamedTuple):
    """Between which a mean accuracy is expected."""

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
    count = len(accuracies)
    spread = 0.0
    if count > 1:
        quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
        spread = float(quantile * accuracies.std(ddof=1) * math.sqrt(1 / count + 1 / seeds))
    return Bounds(
        low=mean - math.hypot(mean - sample.low, spread),
        mean=mean,
        high=mean + math.hypot(sample.high - mean, spread),
    )


def departure(baseline: Baseline, results: Sequence[CellResult]) -> str | None:
    """What is wrong with ``results`` (one framework, network and data set), or None.

    Too high an accuracy is a departure too: it is what a leak of test images looks like.
    """
    failed = [result for result in results if result.test is None]
    if failed:
        return f"{failed[0].cell} failed: {failed[0].error}"
    scores = [result.test for result in results if result.test is not None]
    if any(score.examples != baseline.examples for score in scores):
        return f"{scores[0].examples} test images, the baseline has {baseline.examples}"
    accuracy = float(np.mean([score.accuracy for score in scores]))
    expected = bounds(baseline, len(scores))
    if expected.low <= accuracy <= expected.high:
        return None
    side = "below" if accuracy < expected.low else "above"
    return (
        f"{baseline.framework} reaches {accuracy:.4f} with {baseline.model} on "
        f"{baseline.dataset}, {side} the expected {expected.low:.4f} to {expected.high:.4f} "
        f"(baseline {expected.mean:.4f}, seeds {', '.join(map(str, baseline.correct))})"
    )


def baselines_of(folder: RunFolder) -> list[Baseline]:
    """The baselines that a finished run gives.

    Raises:
        BenchError: a cell of the run is missing or has failed.
    """
    found: dict[tuple[str, str, str], Baseline] = {}
    for cell in folder.manifest.cells:
        result = folder.read_result(cell)
        if result is None or result.test is None:
            raise BenchError(f"{folder.path}: {cell} has no accuracy; finish the run with --resume")
        key = (cell.framework, cell.model, cell.dataset)
        known = found[key].correct if key in found else {}
        found[key] = Baseline(
            framework=cell.framework,
            model=cell.model,
            dataset=cell.dataset,
            training=folder.manifest.experiment.training,
            examples=result.test.examples,
            correct=known | {cell.seed: result.test.correct},
        )
    return list(found.values())


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

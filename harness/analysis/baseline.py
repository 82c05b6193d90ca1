"""Baselines: what a variant once reached, which :mod:`harness.analysis.gate` checks against."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, model_validator
from scipy import stats

from harness.analysis.speed import BUSY, Speed, has_gemm, other_load, speed_of
from harness.config import Training
from harness.errors import BenchError
from harness.files import read_bytes, write_atomically
from harness.metrics import Metric
from harness.plugins import FrameworkName, metrics
from harness.results.folder import CellArrays, RunFolder, why
from harness.results.records import (
    AtLeastOne,
    CellResult,
    Count,
    NotNegative,
    Positive,
    Record,
    Share,
    counted_rounds,
)
from harness.stats.metrics import as_labels, mean_auroc
from harness.stats.statistics import CONFIDENCE, Ranking, proportion

GATE_CONFIDENCE = 0.999
"""Of each bound: about one false positive in a thousand checks for either side."""
RECORDED = {"accuracy", "auroc"}
"""Metrics whose baselines have fields of their own."""
Key = tuple[str, str, str]
"""Framework, model and data set."""


class RunSpeed(Record):
    """How fast a framework trained in one run, relative to matrix products just before."""

    run: str
    """When it was begun, ISO 8601."""
    cpu: str
    threads: int
    device: str
    images_per_gflop: Positive
    """Images trained in the time of 1e9 operations of a matrix product on the same processors."""
    error: NotNegative
    """Standard deviation of the logarithm from round to round."""
    starts: tuple[Positive, ...] = ()
    """The same as ``images_per_gflop``, which is their geometric mean, for every fresh start;
    empty where an earlier version stored the mean alone."""
    rounds: AtLeastOne
    gemm_gflops: Positive
    other_load: NotNegative | None = None
    """Cores that other work used meanwhile, mean."""
    disturbed: bool = False
    """Whether no round was undisturbed."""

    @property
    def machine(self) -> tuple[str, int, str]:
        """CPU, threads and device: speeds of others say nothing here, even relative to matrix
        products."""
        return self.cpu, self.threads, self.device

    @property
    def speed(self) -> Speed:
        return Speed(
            logs=tuple(map(math.log, self.starts or (self.images_per_gflop,))),
            within=self.error,
            rounds=self.rounds,
            gemm_log=math.log(self.gemm_gflops),
        )

    @property
    def doubt(self) -> str:
        """Why no difference is claimed from it; empty: nothing speaks against it."""
        if self.disturbed:
            return "other work went on in every round"
        if (self.other_load or 0) > BUSY * self.threads:
            return f"other work used {self.other_load:.1f} of {self.threads} cores"
        return ""


class MetricBaseline(Record):
    """What a metric, other than accuracy and AUROC, once was."""

    values: Annotated[dict[int, float], Field(min_length=1)]
    """By seed."""
    error: NotNegative = 0.0
    """Standard error of one evaluation, mean of the seeds; 0 where the metric states none."""


class Baseline(Record):
    """What one framework once reached with one network on one data set, on the test split."""

    framework: FrameworkName
    model: str
    dataset: str
    training: Training
    examples: AtLeastOne
    """Images in the test split."""
    correct: Annotated[dict[int, Count], Field(min_length=1)]
    """Seed -> test images classified correctly; with several labels, all of them."""
    auroc: dict[int, Share] = Field(default_factory=dict)
    """Seed -> AUROC, of several labels the mean over those that have one."""
    auroc_error: NotNegative = 0.0
    """Its standard error over patients, mean of the seeds."""
    metrics: dict[str, MetricBaseline] = Field(default_factory=dict)
    """Further gated metrics, by name."""
    speed: tuple[RunSpeed, ...] = ()
    """Of every run that measured it well enough."""

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if max(self.correct.values()) > self.examples:
            raise ValueError(f"{max(self.correct.values())} of {self.examples} images are correct")
        return self

    @property
    def key(self) -> Key:
        return self.framework, self.model, self.dataset


class Bounds(NamedTuple):
    """Between which a mean over seeds is expected."""

    low: float
    mean: float
    high: float


def bounds(baseline: Baseline, seeds: int) -> Bounds:
    """Where the mean accuracy over ``seeds`` new trainings should lie.

    Two independent sources of spread, added in quadrature, each at ``GATE_CONFIDENCE``:

    * the test split is a sample: the exact binomial interval (Clopper & Pearson 1934) at the
      baseline's mean accuracy;
    * trainings differ by seed: the prediction interval for the mean of ``seeds`` further draws
      from a normal population, t(m - 1) s sqrt(1/m + 1/seeds) with m baseline seeds of standard
      deviation s (Hahn & Meeker 1991, section 4.7). With one baseline seed s is unknown and this
      term is left out.
    """
    accuracies = np.array(list(baseline.correct.values())) / baseline.examples
    mean = float(accuracies.mean())
    sample = proportion(
        round(mean * baseline.examples), baseline.examples, confidence=GATE_CONFIDENCE
    )
    spread = _spread_of_seeds(accuracies, seeds)
    return Bounds(
        low=mean - math.hypot(mean - sample.low, spread),
        mean=mean,
        high=mean + math.hypot(sample.high - mean, spread),
    )


def auroc_bounds(baseline: Baseline, seeds: int) -> Bounds:
    """As :func:`bounds`, for the AUROC; the sample's share is normal, of its standard error."""
    areas = np.array(list(baseline.auroc.values()))
    sample = float(stats.norm.ppf((1 + GATE_CONFIDENCE) / 2)) * baseline.auroc_error
    reach = math.hypot(sample, _spread_of_seeds(areas, seeds))
    mean = float(areas.mean())
    return Bounds(low=mean - reach, mean=mean, high=mean + reach)


def metric_bounds(baseline: MetricBaseline, seeds: int, tolerance: float) -> Bounds:
    """As :func:`auroc_bounds`, for any other metric, ``tolerance`` wider on either side."""
    values = np.array(list(baseline.values.values()))
    sample = float(stats.norm.ppf((1 + GATE_CONFIDENCE) / 2)) * baseline.error
    reach = math.hypot(sample, _spread_of_seeds(values, seeds)) + tolerance
    mean = float(values.mean())
    return Bounds(low=mean - reach, mean=mean, high=mean + reach)


def _spread_of_seeds(values: NDArray[np.float64], seeds: int) -> float:
    count = len(values)
    if count < 2:
        return 0.0
    quantile = stats.t.ppf((1 + GATE_CONFIDENCE) / 2, count - 1)
    return float(quantile * values.std(ddof=1) * math.sqrt(1 / count + 1 / seeds))


def further_metrics() -> list[Metric]:
    """Gated metrics that a baseline has no field of its own for."""
    return [m for m in metrics().values() if m.tolerance is not None and m.name not in RECORDED]


def metric_values(metric: Metric, found: list[CellArrays]) -> tuple[list[float], float]:
    """Of every cell with its arrays, and the standard error of one evaluation (mean, 0: unknown).

    A cell of a task that the metric does not apply to, or where it is not defined, is NaN.
    """
    estimates = [metric.compute(a.test_logits, a.test_labels, a.test_groups) for a in found]
    values = [math.nan if each is None else each.value for each in estimates]
    quantile = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    errors = [(e.high - e.low) / (2 * quantile) for e in estimates if e and e.has_interval]
    return values, float(np.mean(errors)) if errors else 0.0


def baselines_of(folder: RunFolder, *, accept_disturbed: bool = False) -> list[Baseline]:
    """The baselines that a finished run gives; without ``accept_disturbed`` a speed beside other
    work is left out.

    Raises:
        BenchError: a cell of the run is missing or has failed.
    """
    cells: dict[Key, list[CellResult]] = defaultdict(list)
    for cell in folder.manifest.cells:
        result = folder.read_result(cell)
        if result is None or result.status != "ok" or result.test is None:
            reason = "" if result is None else f" ({result.outcome}: {result.error})"
            raise BenchError(
                f"{folder.path}: {cell} has no accuracy{reason}; finish the run with --resume"
            )
        cells[cell.framework, cell.model, cell.dataset].append(result)
    return [_baseline(folder, key, results, accept_disturbed) for key, results in cells.items()]


def _baseline(
    folder: RunFolder, key: Key, results: list[CellResult], accept_disturbed: bool
) -> Baseline:
    framework, model, dataset = key
    tests = {result.cell.seed: result.test for result in results if result.test is not None}
    aurocs = {seed: area for seed, t in tests.items() if (area := mean_auroc(t.auroc)) is not None}
    arrays = {result.cell.seed: folder.read_arrays(result.cell) for result in results}
    kept = {seed: found for seed, found in arrays.items() if found is not None}
    errors = [_auroc_error(found) for seed, found in kept.items() if seed in aurocs]
    speed = speed_in(folder, key)
    quiet = speed is not None and (accept_disturbed or not speed.doubt)
    return Baseline(
        framework=framework,
        model=model,
        dataset=dataset,
        training=folder.manifest.experiment.training,
        examples=next(iter(tests.values())).examples,
        correct={seed: test.correct for seed, test in tests.items()},
        auroc=aurocs,
        auroc_error=float(np.mean(errors)) if errors else 0.0,
        metrics=_metric_baselines(folder.manifest.datasets[dataset].task, kept),
        speed=(speed,) if speed is not None and quiet else (),
    )


def _metric_baselines(task: str, kept: dict[int, CellArrays]) -> dict[str, MetricBaseline]:
    """Of further gated metrics that are defined for every cell."""
    found = {}
    for metric in further_metrics():
        values, error = metric_values(metric, list(kept.values()))
        if task in metric.tasks and values and not np.isnan(values).any():
            found[metric.name] = MetricBaseline(
                values=dict(zip(kept, values, strict=True)), error=error
            )
    return found


def speed_in(folder: RunFolder, key: Key) -> RunSpeed | None:
    """Speed of one variant of a run; None where rounds were too few or lack matrix products."""
    results = [
        result
        for result in folder.results()
        if (result.cell.framework, result.cell.model, result.cell.dataset) == key and result.rounds
    ]
    experiment = folder.manifest.experiment
    if not has_gemm(results, experiment.device):
        return None
    speed = speed_of(results, normalise=True)
    assert speed.gemm_log is not None
    if not speed.enough:
        return None
    kept = counted_rounds(results)
    return RunSpeed(
        run=folder.manifest.created,
        cpu=str(folder.environment.get("cpu")),
        threads=experiment.threads,
        device=experiment.device,
        images_per_gflop=math.exp(speed.log),
        error=speed.within,
        starts=tuple(map(math.exp, speed.logs)),
        rounds=speed.rounds,
        gemm_gflops=math.exp(speed.gemm_log),
        other_load=other_load(results),
        disturbed=all(each.disturbed for start in kept for each in start),
    )


def merge(baselines: Iterable[Baseline]) -> list[Baseline]:
    """One baseline a framework, model and data set, with the seeds and runs of all.

    Of a seed or a run that comes twice the last one counts.

    Raises:
        BenchError: they trained differently, or on another test split.
    """
    merged: dict[Key, Baseline] = {}
    for new in baselines:
        old = merged.get(new.key, new)
        if (old.training, old.examples) != (new.training, new.examples):
            raise BenchError(
                f"{'/'.join(new.key)}: trained differently from what is stored; "
                "--replace forgets that"
            )
        speeds = {(each.run, each.machine): each for each in (*old.speed, *new.speed)}
        merged[new.key] = new.model_copy(
            update={
                "correct": old.correct | new.correct,
                "auroc": old.auroc | new.auroc,
                "metrics": _merged_metrics(old, new),
                "speed": tuple(speeds.values()),
            }
        )
    return list(merged.values())


def _merged_metrics(old: Baseline, new: Baseline) -> dict[str, MetricBaseline]:
    merged = dict(old.metrics)
    for name, found in new.metrics.items():
        values = merged[name].values if name in merged else {}
        merged[name] = found.model_copy(update={"values": values | found.values})
    return merged


def _auroc_error(arrays: CellArrays) -> float:
    """Standard error, over patients, of the AUROC or of the mean over labels; see ``Ranking``."""
    scores, labels = as_labels(arrays.test_logits, arrays.test_labels)
    return Ranking.of(scores, labels, arrays.test_groups).error.error


_MAX_BYTES = 2**26


_FILE = TypeAdapter(list[Baseline])


def read_baselines(path: Path) -> list[Baseline]:
    """Read a baseline file.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        found = _FILE.validate_json(read_bytes(path, _MAX_BYTES))
        for key, times in Counter(each.key for each in found).items():
            if times > 1:
                raise ValueError(f"{'/'.join(key)} is stored {times} times")
    except OSError as error:
        raise BenchError(f"{path}: cannot read baselines: {error.strerror or error}") from error
    except ValueError as error:
        raise BenchError(f"{path}: cannot read baselines: {why(error)}") from error
    return found


def write_baselines(path: Path, baselines: Iterable[Baseline]) -> None:
    ordered = sorted(baselines, key=lambda b: (b.dataset, b.model, b.framework))
    write_atomically(path, _FILE.dump_json(ordered, indent=1).decode() + "\n")

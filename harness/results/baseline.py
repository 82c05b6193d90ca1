"""The gate: does a framework still reach the accuracy, the AUROC and the speed that it reached?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, model_validator
from scipy import stats

from harness.config import Training
from harness.errors import BenchError
from harness.files import read_bytes
from harness.plugins import FrameworkName
from harness.results.folder import CellArrays, RunFolder, why, write_atomically
from harness.results.records import (
    AtLeastOne,
    CellResult,
    Count,
    NotNegative,
    Positive,
    Record,
    Share,
)
from harness.results.speed import (
    BUSY,
    Speed,
    counted,
    has_gemm,
    other_load,
    ratio_to_runs,
    speed_of,
)
from harness.stats.metrics import binary, mean_auroc
from harness.stats.statistics import Ranking, proportion

CONFIDENCE = 0.999
"""Of each bound: about one false alarm in a thousand checks for either side."""
MAX_SLOWDOWN = 1.02
"""What the gate lets pass, as a factor. With five starts on each side it notices 1.15."""
UNSTEADY = 2.0
"""Upper end of a ratio of speeds over the ratio itself, beyond which the gate does not say 'ok': it
would not notice a framework so many times slower than what passes."""


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
    def place(self) -> tuple[str, int, str]:
        """Speeds of other places say nothing here, even relative to matrix products."""
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
    speed: tuple[RunSpeed, ...] = ()
    """Of every run that measured it well enough."""

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if max(self.correct.values()) > self.examples:
            raise ValueError(f"{max(self.correct.values())} of {self.examples} images are correct")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        return self.framework, self.model, self.dataset


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
    failed = [result for result in results if result.status != "ok"]
    if failed:
        return f"{failed[0].cell} {failed[0].outcome}: {failed[0].error}"
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


def baselines_of(folder: RunFolder, *, accept_disturbed: bool = False) -> list[Baseline]:
    """The baselines that a finished run gives; without ``accept_disturbed`` a speed beside other
    work is left out.

    Raises:
        BenchError: a cell of the run is missing or has failed.
    """
    found: dict[tuple[str, str, str], Baseline] = {}
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for cell in folder.manifest.cells:
        result = folder.read_result(cell)
        if result is None or result.status != "ok" or result.test is None:
            why = "" if result is None else f" ({result.outcome}: {result.error})"
            raise BenchError(
                f"{folder.path}: {cell} has no accuracy{why}; finish the run with --resume"
            )
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
    for key, baseline in found.items():
        speed = speed_in(folder, key)
        if speed is not None and (accept_disturbed or not speed.doubt):
            found[key] = baseline.model_copy(update={"speed": (speed,)})
    return list(found.values())


def speed_in(folder: RunFolder, key: tuple[str, str, str]) -> RunSpeed | None:
    """Speed of one row of a run; None where rounds were too few or lack matrix products."""
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
    kept = counted(results)
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
    merged: dict[tuple[str, str, str], Baseline] = {}
    for new in baselines:
        old = merged.get(new.key, new)
        if (old.training, old.examples) != (new.training, new.examples):
            raise BenchError(
                f"{'/'.join(new.key)}: trained differently from what is stored; "
                "--replace forgets that"
            )
        speeds = {(each.run, each.place): each for each in (*old.speed, *new.speed)}
        merged[new.key] = new.model_copy(
            update={
                "correct": old.correct | new.correct,
                "auroc": old.auroc | new.auroc,
                "speed": tuple(speeds.values()),
            }
        )
    return list(merged.values())


class Checked(NamedTuple):
    """What the gate says of one row of a run."""

    key: tuple[str, str, str]
    failures: tuple[str, ...]
    passed: tuple[str, ...]
    unchecked: tuple[str, ...]
    """What could not be judged, and why."""
    hints: tuple[str, ...] = ()


def check(
    folder: RunFolder,
    baselines: Sequence[Baseline],
    *,
    accuracy: bool = True,
    speed: bool = True,
    max_slowdown: float = MAX_SLOWDOWN,
) -> list[Checked]:
    """Hold every row that the run set out to train, or skipped, against ``baselines``.

    Raises:
        BenchError: a row trained otherwise than its baseline, so that the two say nothing of each
            other.
    """
    if not (max_slowdown >= 1 and math.isfinite(max_slowdown)):
        raise BenchError(f"the slowdown that passes is {max_slowdown}, expected 1 or more")
    stored = {baseline.key: baseline for baseline in baselines}
    manifest = folder.manifest
    found = []
    for key in dict.fromkeys((c.framework, c.model, c.dataset) for c in manifest.cells):
        cells = [c for c in manifest.cells if (c.framework, c.model, c.dataset) == key]
        results = [folder.read_result(cell) for cell in cells]
        ended = [result for result in results if result is not None]
        failed = [f"{r.cell} {r.outcome}: {r.error}" for r in ended if r.status != "ok"]
        failed += [f"{cell} has not run" for cell, r in zip(cells, results, strict=True) if not r]
        baseline = stored.get(key)
        if baseline is None:
            found.append(Checked(key, tuple(failed), (), ("no baseline",)))
            continue
        _check_training(key, baseline, manifest.experiment.training)
        if failed:
            found.append(Checked(key, tuple(failed), (), ()))
            continue
        parts = [_check_scores(baseline, ended)] if accuracy else []
        if speed:
            parts.append(_check_speed(baseline, speed_in(folder, key), max_slowdown))
        found.append(
            Checked(
                key,
                failures=tuple(word for part in parts for word in part.failures),
                passed=tuple(word for part in parts for word in part.passed),
                unchecked=tuple(word for part in parts for word in part.unchecked),
                hints=tuple(word for part in parts for word in part.hints),
            )
        )
    asked = {(model, data) for model in manifest.experiment.models for data in manifest.datasets}
    for key in stored:
        if key[0] in manifest.skipped and key[1:] in asked:
            reason = f"skipped by the run: {manifest.skipped[key[0]]}"
            found.append(Checked(key, (), (), (reason,)))
    return found


def _check_training(key: tuple[str, str, str], baseline: Baseline, training: Training) -> None:
    ours, theirs = training.model_dump(), baseline.training.model_dump()
    for name, value in ours.items():
        if value != theirs[name]:
            raise BenchError(
                f"{'/'.join(key)} trained otherwise than its baseline: {name} {value}, there "
                f"{theirs[name]}; run with the baseline's settings, or store another baseline"
            )


def _check_scores(baseline: Baseline, results: Sequence[CellResult]) -> Checked:
    fault = departure(baseline, results)
    if fault is not None:
        return Checked(baseline.key, (fault,), (), ())
    scores = [result.test for result in results if result.test is not None]
    mean = float(np.mean([score.accuracy for score in scores]))
    bound = bounds(baseline, len(scores))
    words = [f"accuracy {mean:.4f} lies in {bound.low:.4f} to {bound.high:.4f}"]
    areas = [area for score in scores if (area := mean_auroc(score.auroc)) is not None]
    if baseline.auroc:
        bound = auroc_bounds(baseline, len(scores))
        words.append(f"AUROC {np.mean(areas):.4f} in {bound.low:.4f} to {bound.high:.4f}")
    return Checked(baseline.key, (), tuple(words), ())


def _check_speed(baseline: Baseline, found: RunSpeed | None, max_slowdown: float) -> Checked:
    def unchecked(why: str) -> Checked:
        return Checked(baseline.key, (), (), (f"speed: {why}",))

    if not baseline.speed:
        return unchecked("the baseline has none")
    if found is None:
        return unchecked("the run has too few rounds, or no matrix products timed beside them")
    stored = [each.speed for each in baseline.speed if each.place == found.place]
    if not stored:
        cpu, threads, device = found.place
        return unchecked(f"the baseline has none for {cpu}, {device}, {threads} threads")
    if found.doubt:
        return unchecked(found.doubt)
    ratio = ratio_to_runs(found.speed, stored)
    starts = sum(len(each.logs) for each in stored)
    shown = (
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) times the baseline's "
        f"({_count(len(found.speed.logs), 'start')} against {starts} in "
        f"{_count(len(stored), 'run')}), relative to matrix products"
    )
    if ratio.high < 1 / max_slowdown:
        fault = f"speed {shown}: slower by more than a factor of {max_slowdown:g}"
        return Checked(baseline.key, (fault,), (), ())
    if ratio.high / ratio.value > UNSTEADY:
        return unchecked(f"{shown}: too unsteady to notice a factor of {UNSTEADY * max_slowdown:g}")
    hint = "faster than the baseline: store this one with `bench baseline update --replace`"
    return Checked(baseline.key, (), (f"speed {shown}",), (), (hint,) if ratio.low > 1 else ())


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _auroc_error(task: str, arrays: CellArrays) -> float:
    """Standard error, over patients, of the AUROC or of the mean over labels; see ``Ranking``."""
    scores, labels = arrays.test_logits, arrays.test_labels
    if task == "multiclass":
        scores, labels = binary(scores, labels)
    return Ranking.of(scores.astype(np.float64), labels, arrays.test_groups).error.error


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

"""One run, read whole: what every variant did with every model on every data set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.analysis.speed import BUSY, log_speeds, speed_estimate
from harness.backends.spec import Role
from harness.errors import BenchError
from harness.measure.conditions import mean_other_load
from harness.models.card import ModelCard
from harness.plan import Cell
from harness.plugins import backends, canonical, models, role_of
from harness.results.folder import CellArrays, DatasetEntry, Manifest, RunFolder
from harness.results.load import MIB, auroc_labels
from harness.results.records import (
    CellResult,
    Epoch,
    FinalScore,
    Identity,
    MachinePeak,
    Phases,
    Round,
    counted_rounds,
)
from harness.stats import metrics, statistics
from harness.stats.statistics import Estimate, Ranking
from harness.stats.tasks import Task

STEADY_RATIO = 1.5
"""Upper over lower quartile of a training's rounds: above this, something disturbed the machine."""
UNSTEADY = "not steady"
"""The reason why a speed is doubted whose rounds spread further than that."""
MOST_SHOWN = 20
"""Seeds whose trainings are shown one by one, in figures and tables; ``results.csv`` has all."""
MOST_READ = 1_000
"""Trainings whose arrays are read at most, those of the first seeds: a run may have any number, and
the predictions of ten thousand fit into no memory."""
UNTIMED = "accuracies only"
"""The reason why there is no speed where cells trained side by side."""
START_ALLOWANCE_S = 30.0
"""Longer than a start takes beyond what was measured of it."""
FAILED_START_ALLOWANCE_S = 300.0
"""The same for a framework that failed before all of its start was measured."""


def title_of(framework: str) -> str:
    """What a person reads; a framework that this version does not know keeps its name."""
    spec = backends().get(canonical(framework))
    return spec.title if spec else framework


@dataclass(frozen=True)
class Trained:
    """A cell that finished: nothing of it is missing but perhaps its arrays."""

    result: CellResult
    phases: Phases
    test: FinalScore
    identity: Identity
    arrays: CellArrays | None
    session: str
    """Cells of one group and seed with the same one were started together and interleaved."""
    unread: bool = False
    """Whether ``arrays`` were left on disk: see ``MOST_READ``."""

    @classmethod
    def of(
        cls, result: CellResult, arrays: CellArrays | None, session: str, *, unread: bool
    ) -> Trained:
        if not (result.epochs and result.phases and result.test and result.identity):
            raise BenchError(
                f"the result of {result.cell} says it is finished but lacks measurements: "
                "delete it and run --resume"
            )
        return cls(result, result.phases, result.test, result.identity, arrays, session, unread)

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        return self.result.epochs

    @property
    def starts(self) -> dict[str, tuple[Epoch | Round, ...]]:
        """The rounds of every fresh start, by its session."""
        return {name: tuple(rounds.values()) for name, rounds in self.numbered.items()}

    @cached_property
    def numbered(self) -> dict[str, dict[int, Epoch | Round]]:
        """The same by their number: see :attr:`CellResult.numbered`."""
        unnamed = self.result.session  # in runs of earlier versions
        return {
            self.session if name == unnamed else name: rounds
            for name, rounds in self.result.numbered.items()
        }

    @property
    def images_per_second(self) -> NDArray[np.float64]:
        return self.result.images_per_second

    @property
    def median_images_per_second(self) -> float:
        return float(np.median(self.images_per_second))

    @property
    def peak_mib(self) -> float:
        return self.result.peak_rss_bytes / MIB

    @cached_property
    def predictions(self) -> NDArray[np.int64] | None:
        """Predictions, shaped as the labels are; see :func:`metrics.predictions`."""
        if self.arrays is None:
            return None
        task: Task = "multiclass" if self.arrays.test_labels.ndim == 1 else "multilabel"
        return metrics.predictions(task, self.arrays.test_logits)

    @property
    def correct(self) -> NDArray[np.bool_] | None:
        """Images whose label, or all of whose labels, are correct (examples,)."""
        if self.arrays is None or self.predictions is None:
            return None
        return each_image(self.predictions == self.arrays.test_labels)

    @property
    def mean_auroc(self) -> float:
        """NaN where no label has one."""
        mean = metrics.mean_auroc(self.test.auroc)
        return math.nan if mean is None else mean

    @cached_property
    def ranked(self) -> tuple[NDArray[np.floating], NDArray[np.uint8]] | None:
        """Scores and labels (examples, L) of what has an AUROC; L is 0 for more than two classes.

        A score is a logit: of a label, or of the second of two classes over the first.
        """
        if self.arrays is None:
            return None
        scores = self.arrays.test_logits.astype(np.float64)
        if self.arrays.test_labels.ndim == 1:
            return metrics.binary(scores, self.arrays.test_labels)
        return scores, self.arrays.test_labels

    @cached_property
    def ranking(self) -> Ranking | None:
        """AUROCs of the labels and how uncertain they are; None where predictions are missing."""
        if self.arrays is None or self.ranked is None:
            return None
        return Ranking.of(*self.ranked, self.arrays.test_groups)


@dataclass(frozen=True)
class Outcome:
    """What one framework did in a group: its cells by seed, sorted by how they ended."""

    framework: str
    trained: dict[int, Trained] = field(default_factory=dict)
    failed: dict[int, CellResult] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    """Seeds that have no result."""
    threads: int = 0
    """Cores given to it; 0: not known."""
    timed: bool = True
    """False where cells trained side by side, for their accuracies alone."""

    @property
    def title(self) -> str:
        return title_of(self.framework)

    @property
    def role(self) -> Role:
        return role_of(self.framework)

    @property
    def shown(self) -> list[Trained]:
        """The trainings that figures show one by one: of the first seeds."""
        return list(self.trained.values())[:MOST_SHOWN]

    @cached_property
    def speed(self) -> Estimate:
        """Training images a second, over the undisturbed rounds of every fresh start.

        Without an interval where other work was too much for one to be meant; NaN where it was
        not timed.
        """
        if not self.timed:
            return Estimate(math.nan, math.nan, math.nan)
        found = speed_estimate([log_speeds(rounds) for rounds in self._counted])
        return Estimate(found.value, math.nan, math.nan) if self.other_work else found

    @cached_property
    def _counted(self) -> list[tuple[Epoch | Round, ...]]:
        """Undisturbed rounds of every start that has any; where none has, all rounds."""
        return counted_rounds(cell.result for cell in self.trained.values())

    @property
    def starts(self) -> list[tuple[Epoch | Round, ...]]:
        """The rounds of every fresh start."""
        return [rounds for cell in self.trained.values() for rounds in cell.starts.values()]

    @property
    def rounds(self) -> list[Epoch | Round]:
        """Of every start, disturbed ones too."""
        return [each for rounds in self.starts for each in rounds]

    @cached_property
    def other_load(self) -> float | None:
        """Cores that other work used during the rounds that count, mean over time."""
        return mean_other_load(
            (each.seconds, each.conditions) for rounds in self._counted for each in rounds
        )

    @property
    def other_work(self) -> str:
        """What other work went on meanwhile, where it is too much to claim a difference."""
        if not self.timed:
            return UNTIMED
        load = self.other_load
        if load is not None and self.threads and load > BUSY * self.threads:
            return f"other load {load:.1f} of {self.threads} cores"
        if self.trained and all(each.disturbed for each in self.rounds):
            return "other load in every round"
        return ""

    @property
    def doubt(self) -> str:
        """Why no difference is claimed from its speed; empty: nothing speaks against it."""
        return self.other_work or ("" if self.is_steady else UNSTEADY)

    @cached_property
    def unsteadiness(self) -> float:
        """Upper over lower quartile of the rounds' speeds, of the start where that is largest.

        Quartiles, because one slow round, perhaps the first, moves no median.
        """
        logs = [log_speeds(rounds) for rounds in self._counted]
        quartiles = [np.quantile(log, (0.25, 0.75)) for log in logs]
        return max(math.exp(upper - lower) for lower, upper in quartiles)

    @property
    def is_steady(self) -> bool:
        return not (self.trained and self.timed) or self.unsteadiness <= STEADY_RATIO

    @property
    def test_examples(self) -> int:
        return next(iter(self.trained.values())).test.examples

    @cached_property
    def accuracy(self) -> Estimate:
        """Mean over the seeds, with the interval of one evaluation."""
        correct = [cell.test.correct for cell in self.trained.values()]
        return statistics.mean_accuracy(correct, self.test_examples)

    @property
    def accuracy_range(self) -> tuple[float, float]:
        shares = [cell.test.correct / cell.test.examples for cell in self.trained.values()]
        return min(shares), max(shares)

    @property
    def mean_auroc_alone(self) -> float:
        """Mean over the labels, then over the seeds; NaN where none is defined."""
        values = np.array([cell.mean_auroc for cell in self.trained.values()])
        return float(statistics.mean_of_defined(values, axis=0))

    @cached_property
    def mean_auroc(self) -> Estimate:
        """The same with its interval."""
        if self.ranking is None:
            return Estimate(self.mean_auroc_alone, math.nan, math.nan)
        return self.ranking.interval()

    @cached_property
    def ranking(self) -> Ranking | None:
        """Of the mean over the seeds, which are all tested on the same images."""
        found = [cell.ranking for cell in self.trained.values() if not cell.unread]
        known = [each for each in found if each is not None]
        return Ranking.mean_of(known) if known and len(known) == len(found) else None

    @cached_property
    def aurocs(self) -> tuple[Estimate, ...]:
        """Of every label, the mean over the seeds; NaN where it is not defined.

        Without an interval where too few patients have the label to show one.
        """
        cells = [cell for cell in self.trained.values() if cell.test.auroc]
        if not cells:
            return ()  # made before AUROCs were recorded
        values = np.array([[math.nan if a is None else a for a in c.test.auroc] for c in cells])
        found = []
        for index, value in enumerate(statistics.mean_of_defined(values, axis=0)):
            estimate = Estimate(float(value), math.nan, math.nan)
            if (
                self.ranking is not None
                and self.ranking.support[index] >= statistics.MINIMUM_POSITIVES
            ):
                estimate = self.ranking.label(index).interval()
            found.append(estimate)
        return tuple(found)

    @property
    def auroc_range(self) -> tuple[float, float]:
        means = [cell.mean_auroc for cell in self.trained.values()]
        return min(means), max(means)

    def phase(self, name: str) -> float:
        """Median over the seeds of the seconds that the phase ``name`` took."""
        return float(np.median([getattr(cell.phases, name) for cell in self.trained.values()]))

    def compilation_s(self, batch_size: int) -> float:
        """Seconds of the first step beyond a steady one of ``batch_size`` (median of the seeds)."""
        beyond = [
            cell.phases.first_step_s - batch_size / cell.median_images_per_second
            for cell in self.trained.values()
        ]
        return max(0.0, float(np.median(beyond)))

    @property
    def startup_s(self) -> float:
        """All phases together."""
        return sum(self.phase(name) for name in Phases.model_fields)

    @property
    def peak_mib(self) -> float:
        """The largest over the seeds."""
        return max(cell.peak_mib for cell in self.trained.values())


@dataclass(frozen=True)
class Workload:
    """One network on one data set, all frameworks and seeds."""

    dataset: str
    model: str
    entry: DatasetEntry
    card: ModelCard | None
    """None for a network that this version does not know."""
    outcomes: tuple[Outcome, ...]
    """In the run's order of frameworks."""

    @property
    def accuracy(self) -> str:
        """What the share of correctly predicted images is called."""
        return "all labels correct" if self.entry.task == "multilabel" else "test accuracy"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What has an AUROC: every label, or the second of two classes; else nothing.

        Nothing as well where the run was made before AUROCs were recorded.
        """
        scored = any(cell.test.auroc for o in self.outcomes for cell in o.trained.values())
        return auroc_labels(self.entry) if scored else ()

    @property
    def timed(self) -> bool:
        """Whether speeds were measured."""
        return all(outcome.timed for outcome in self.outcomes)

    @property
    def title(self) -> str:
        return f"{self.card.title if self.card else self.model} on {self.dataset}"

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """Frameworks with at least one trained network."""
        return tuple(outcome for outcome in self.outcomes if outcome.trained)

    @property
    def by_role(self) -> tuple[Outcome, ...]:
        """All ``outcomes``: what is ranked first, then by role, in the order of the run."""
        order = [self.ranked_role, "plain", "tuned", "bound", "idiom"]
        return tuple(sorted(self.outcomes, key=lambda outcome: order.index(outcome.role)))

    @property
    def comparable(self) -> tuple[Outcome, ...]:
        """Those of ``finished`` that follow the protocol, so that all of them did the same."""
        return tuple(outcome for outcome in self.finished if outcome.role != "idiom")

    @property
    def ranked(self) -> tuple[Outcome, ...]:
        """What the verdict and the headline compare: plain variants that finished.

        Where the run was asked for none, its tuned variants.
        """
        return self.with_role(self.ranked_role)

    @property
    def ranked_role(self) -> Role:
        return "plain" if any(o.role == "plain" for o in self.outcomes) else "tuned"

    def with_role(self, role: Role) -> tuple[Outcome, ...]:
        """Those of ``finished`` that have the role."""
        return tuple(outcome for outcome in self.finished if outcome.role == role)

    @property
    def speed_comparisons(self) -> int:
        """Pairs of what is ranked: whoever is fastest was picked among all of them."""
        return math.comb(len(self.ranked), 2)

    def base_of(self, outcome: Outcome) -> Outcome | None:
        """The plain form of a tuned variant, where it finished."""
        spec = backends().get(outcome.framework)
        return next((o for o in self.finished if spec and o.framework == spec.base), None)

    @property
    def reference(self) -> Outcome | None:
        """What the others are compared to: the first that is ranked, in the run's order."""
        return next(iter((*self.ranked, *self.comparable)), None)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that at least one framework finished, in the order of the run."""
        seeds = dict.fromkeys(seed for outcome in self.outcomes for seed in outcome.trained)
        return tuple(seeds)

    @cached_property
    def tested(self) -> CellArrays | None:
        """The arrays of a cell, for what is the same in all: labels and patients."""
        kept = (c.arrays for o in self.finished for c in o.trained.values() if c.arrays is not None)
        return next(kept, None)

    @property
    def patients(self) -> int | None:
        """How many there are in the test split, None where the data set does not say."""
        if self.tested is None or self.tested.test_groups is None:
            return None
        return len(np.unique(self.tested.test_groups))


@dataclass(frozen=True)
class Run:
    """A run's folder, read whole."""

    folder: RunFolder
    workloads: tuple[Workload, ...]
    machine: MachinePeak | None = None
    """None in runs of versions that did not measure it."""

    @property
    def manifest(self) -> Manifest:
        return self.folder.manifest

    @property
    def planned(self) -> int:
        return len(self.manifest.own_cells)

    @property
    def with_result(self) -> int:
        return sum(
            len(outcome.trained) + len(outcome.failed)
            for workload in self.workloads
            for outcome in workload.outcomes
        )

    @property
    def compared(self) -> list[str]:
        """Titles of the frameworks that the run set out to compare."""
        return [title_of(name) for name in self.manifest.experiment.frameworks]

    @cached_property
    def results(self) -> dict[Cell, CellResult]:
        """Of every cell that has one."""
        return {
            result.cell: result
            for workload in self.workloads
            for outcome in workload.outcomes
            for result in (
                *(cell.result for cell in outcome.trained.values()),
                *outcome.failed.values(),
            )
        }

    @cached_property
    def peak_gflops(self) -> float | None:
        """The machine's best matrix product of this run, in its precision, 1e9 operations a second.

        A clock that rises later in the run counts too: the peak is the best of all that was seen.
        None where it was not measured.
        """
        if self.machine is None:
            return None
        seen = [
            each.conditions.gemm_gflops
            for _, _, cell in self.cells
            for rounds in cell.starts.values()
            for each in rounds
            if each.conditions is not None
        ]
        best = self.machine.gemm_gflops.get(self.manifest.experiment.training.precision)
        return max(seen if best is None else [best, *seen], default=None)

    @cached_property
    def cells(self) -> list[tuple[Workload, Outcome, Trained]]:
        """Every trained network."""
        return [
            (workload, outcome, cell)
            for workload in self.workloads
            for outcome in workload.outcomes
            for cell in outcome.trained.values()
        ]

    @classmethod
    def read(cls, folder: RunFolder) -> Run:
        """Read every result, and the arrays of the seeds of :func:`seeds_read`.

        Raises:
            BenchError: a file is damaged, or there is no result at all.
        """
        manifest = folder.manifest
        planned = manifest.own_cells
        read = seeds_read(manifest)
        keys = dict.fromkeys((cell.dataset, cell.model) for cell in planned)
        workloads = []
        for dataset, model in keys:
            if dataset not in manifest.datasets:
                raise BenchError(f"{folder.path}: the run does not describe its data set {dataset}")
            cells = [c for c in planned if (c.dataset, c.model) == (dataset, model)]
            results = {cell: folder.read_result(cell) for cell in cells}
            sessions = _sessions([result for result in results.values() if result is not None])
            # The plan rotates the frameworks with the seed; a report keeps the run's own order.
            asked = [*manifest.experiment.frameworks, *(cell.framework for cell in cells)]
            workloads.append(
                Workload(
                    dataset=dataset,
                    model=model,
                    entry=manifest.datasets[dataset],
                    card=models().get(model),
                    outcomes=tuple(
                        _outcome(folder, name, results, sessions, read)
                        for name in dict.fromkeys(asked)
                    ),
                )
            )
        run = cls(folder, tuple(workloads), folder.machine)
        if run.with_result == 0:
            raise BenchError(
                f"{folder.path} holds no result yet: resume it with bench run --resume --out DIR"
            )
        return run


def seeds_read(manifest: Manifest) -> tuple[int, ...]:
    """The seeds whose arrays are read: all of them, unless that are more than ``MOST_READ``."""
    seeds, cells = manifest.experiment.seeds, len(manifest.own_cells)
    if cells <= MOST_READ:
        return seeds
    return seeds[: max(1, MOST_READ * len(seeds) // cells)]


def interleaved(one: Trained, other: Trained) -> bool:
    """Whether two cells of one group and seed ever ran side by side.

    Not where one was made up for later.
    """
    return bool(one.starts.keys() & other.starts.keys())


def _sessions(results: list[CellResult]) -> dict[Cell, str]:
    """For the cells of one group, what is equal where they were interleaved.

    Runs of earlier versions did not record it. In one session every framework starts before the
    first of them trains: each as soon as the one before it has started. What is made up for in a
    later session starts only after the earlier one has trained.
    """
    sessions = {result.cell: result.session for result in results if result.session}
    unnamed = [result for result in results if not result.session]
    for seed in dict.fromkeys(result.cell.seed for result in unnamed):
        number, free = 0, datetime.max.replace(tzinfo=UTC)
        own = [result for result in unnamed if result.cell.seed == seed]
        for result in sorted(own, key=lambda result: datetime.fromisoformat(result.started)):
            started = datetime.fromisoformat(result.started)
            number += started > free
            sessions[result.cell] = f"inferred {number}"
            free = started + timedelta(seconds=_start_s(result.phases))
    return sessions


def _start_s(phases: Phases | None) -> float:
    """How long at most a framework kept the next one from starting."""
    if phases is None:
        return FAILED_START_ALLOWANCE_S
    seconds: float = sum(phases.model_dump().values())
    return seconds + START_ALLOWANCE_S


def _outcome(
    folder: RunFolder,
    framework: str,
    results: dict[Cell, CellResult | None],
    sessions: dict[Cell, str],
    read: tuple[int, ...],
) -> Outcome:
    trained: dict[int, Trained] = {}
    failed: dict[int, CellResult] = {}
    missing: list[int] = []
    for cell, result in results.items():
        if cell.framework != framework:
            continue
        if result is None:
            missing.append(cell.seed)
        elif result.status != "ok":
            failed[cell.seed] = result
        else:
            unread = cell.seed not in read
            arrays = None if unread else folder.read_arrays(cell)
            trained[cell.seed] = Trained.of(result, arrays, sessions[cell], unread=unread)
    experiment = folder.manifest.experiment
    return Outcome(
        framework,
        trained,
        failed,
        tuple(missing),
        experiment.threads,
        timed=not experiment.accuracy_only,
    )


def each_image(correct: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What holds of every image (examples,), from (examples,) or (examples, labels)."""
    return correct if correct.ndim == 1 else np.asarray(correct.all(axis=1))

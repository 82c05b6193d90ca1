"""``parity.json``: what ``bench parity --run`` found, kept beside the run that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AliasChoices, Field, ValidationError

from harness import __version__
from harness.backends.spec import BackendSpec
from harness.data.reader import open_dataset
from harness.errors import BenchError, WorkerError
from harness.execution.inputs import first_weights
from harness.execution.worker import Worker
from harness.parity.deviations import Deviation, compare, tolerances
from harness.parity.proof import Proof, Status, prove
from harness.parity.rounding import LossDrift, drift_of
from harness.parity.trace import ProofPlan, Workers, make_plan
from harness.plan import Cell
from harness.plugins import FrameworkName, backends, canonical, find_backend, find_model
from harness.protocol.positives import balancing_weights
from harness.results.folder import DatasetEntry, RunFolder, write_atomically
from harness.results.records import Record

FILE = "parity.json"
PRECISION = "float64"
DRIFT_S, BRIEF_DRIFT_S = 600.0, 60.0
"""Seconds of training at most, by which the drift of the run's losses is measured."""


def _named(name: str, former: str, **field: Any) -> Any:
    """A field that files of earlier versions call ``former``."""
    return Field(validation_alias=AliasChoices(name, former), **field)


class MaximumDeviation(Record):
    """The largest deviation of a stage."""

    stage: str
    where: str
    value: float
    tolerance: float | None

    @property
    def beyond(self) -> bool:
        return self.tolerance is not None and not self.value <= self.tolerance


class FrameworkComparison(Record):
    """One framework compared with the reference."""

    framework: FrameworkName
    stages: tuple[MaximumDeviation, ...] = ()
    """In the order of computation; none where it failed, or where it was itself the reference, as
    in certificates of earlier versions."""
    arrays: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By stage and name: the deviation of every array."""
    diagnosis: str | None = None
    """What is wrong, where anything deviates."""
    failure: str | None = None
    lower_precision: str | None = _named("lower_precision", "reduced", default=None)
    """What it computes in less than single precision: it is compared with nothing in float64."""
    single_losses: tuple[float, ...] = ()
    """Of its training in the run's own precision, step by step."""
    double_losses: tuple[float, ...] = ()
    """The same in float64."""

    @property
    def holds(self) -> bool:
        """Whether it did not fail and nothing lies beyond its tolerance."""
        beyond = any(stage.beyond for stage in self.stages)
        return not (self.failure or self.diagnosis or beyond)


class PairDeviation(Record):
    """The stage at which two frameworks are farthest apart."""

    frameworks: tuple[FrameworkName, FrameworkName]
    maximum: MaximumDeviation = _named("maximum", "worst")


class Section(Record):
    """All frameworks with one network on one data set."""

    model: str
    dataset: str
    optimizer: str
    batch_size: int
    steps: int
    seed: int
    reference_losses: tuple[float, ...]
    """Of the reference in float64, step by step."""
    comparisons: tuple[FrameworkComparison, ...] = _named("comparisons", "held")
    pairs: tuple[PairDeviation, ...]
    drift: LossDrift | None = None
    """Of the losses of the run, by rounding alone; None where no framework could show it, and in
    certificates of earlier versions."""


class Certificate(Record):
    """What was proven of a run."""

    schema_version: Literal[1] = 1
    harness_version: str
    created: str
    sections: tuple[Section, ...]

    @property
    def frameworks(self) -> set[str]:
        """Those in every section."""
        named = [{each.framework for each in section.comparisons} for section in self.sections]
        return set.intersection(*named) if named else set()

    @property
    def holds(self) -> bool:
        """Whether nothing failed and nothing lies beyond its tolerance."""
        return all(each.holds for section in self.sections for each in section.comparisons)


def certify(
    folder: RunFolder,
    specs: Sequence[BackendSpec],
    steps: int,
    status: Status,
    *,
    brief: bool = False,
) -> tuple[Certificate, list[Proof]]:
    """Prove what the run in ``folder`` trained, from the weights and batches of its first seed.

    ``brief`` leaves stages of deep networks out: see ``make_plan``.

    Raises:
        BenchError: a data set or weight file is gone, or no longer what the run trained on.
    """
    experiment = folder.manifest.experiment
    exact = [spec for spec in specs if not spec.lower_precision]
    sections, proofs = [], []
    with Workers(experiment.threads) as workers:
        for model in experiment.models:
            for name, entry in folder.manifest.datasets.items():
                plan = _plan(folder, model, entry, steps, brief)
                proof = prove(exact, plan, PRECISION, workers, status)
                proofs.append(proof)
                section = _section(folder, name, specs, proof, workers, status)
                drift = _drift(folder, exact, section, proof, workers, status, brief)
                sections.append(section.model_copy(update={"drift": drift}))
    made = Certificate(
        harness_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sections=tuple(sections),
    )
    return made, proofs


def write_certificate(folder: RunFolder, certificate: Certificate) -> Path:
    """Write ``parity.json`` into the run's folder.

    Raises:
        BenchError: it cannot be written.
    """
    path = folder.path / FILE
    write_atomically(path, certificate.model_dump_json(indent=1) + "\n")
    return path


def read_certificate(run: Path) -> Certificate | None:
    """What ``bench parity --run`` wrote; None where it did not.

    Raises:
        BenchError: the file is damaged.
    """
    path = run / FILE
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise BenchError(
            f"cannot read {path}: {first}; delete it, or write it anew with bench parity --run"
        ) from error


def _plan(folder: RunFolder, model: str, entry: DatasetEntry, steps: int, brief: bool) -> ProofPlan:
    experiment = folder.manifest.experiment
    training, seed = experiment.training, experiment.seeds[0]
    path = Path(entry.path)
    with open_dataset(path, memory_budget=0) as data:
        if not data.is_that_of(entry.sha256, entry.content_sha256):
            raise BenchError(
                f"{path} holds other data than the run in {folder.path} trained on: put these back"
            )
        positives = (
            balancing_weights(data.split("train").labels)
            if training.positive_weights == "balanced"
            else ()
        )
    return make_plan(
        model,
        path,
        data_dir=path.parent,
        optimizer=training.optimizer,
        batch_size=training.batch_size,
        steps=steps,
        threads=experiment.threads,
        seed=seed,
        weights=first_weights(find_model(model), entry, training, seed),
        positive_weights=positives,
        brief=brief,
    )


def _section(
    folder: RunFolder,
    dataset: str,
    specs: Sequence[BackendSpec],
    proof: Proof,
    workers: Workers,
    status: Status,
) -> Section:
    training = folder.manifest.experiment.training
    plan = proof.plan
    return Section(
        model=plan.model,
        dataset=dataset,
        optimizer=training.optimizer.name,
        batch_size=plan.batches.shape[1],
        steps=len(plan.batches),
        seed=folder.manifest.experiment.seeds[0],
        reference_losses=tuple(proof.reference.losses.tolist()),
        comparisons=tuple(
            _comparison(spec, proof, training.precision, workers, status) for spec in specs
        ),
        pairs=tuple(_pairs(proof)),
    )


def _drift(
    folder: RunFolder,
    specs: Sequence[BackendSpec],
    section: Section,
    proof: Proof,
    workers: Workers,
    status: Status,
    brief: bool,
) -> LossDrift | None:
    """Of the first framework that has trained and computes what the reference does."""
    sound = {each.framework for each in section.comparisons if each.holds}
    for spec in (spec for spec in specs if spec.name in sound):
        cell = Cell(
            framework=spec.name, model=section.model, dataset=section.dataset, seed=section.seed
        )
        budget = BRIEF_DRIFT_S if brief else DRIFT_S
        try:
            with status(f"{section.model}: losses of {spec.name} from weights off by rounding"):
                found = drift_of(folder, cell, workers.get(spec), proof.plan, budget)
        except WorkerError:  # what failed is said of the proof itself
            continue
        if found is not None:
            return found
    return None


def _comparison(
    spec: BackendSpec, proof: Proof, precision: str, workers: Workers, status: Status
) -> FrameworkComparison:
    name = spec.name
    found = next((one for one in proof.comparisons if one.framework == name), None)
    trace = proof.traces.get(name)
    arrays: dict[str, dict[str, float]] = {}
    for deviation in found.deviations if found else ():
        arrays.setdefault(deviation.stage, {})[deviation.name] = float(f"{deviation.value:.3g}")
    failure = proof.failures.get(name)
    losses: tuple[float, ...] = ()
    if failure is None:
        try:
            with status(f"{proof.plan.model}: {name} in {precision}"):
                losses = _losses(workers.get(spec), proof.plan, precision)
        except WorkerError as error:
            failure = " ".join(str(error).split())
    return FrameworkComparison(
        framework=name,
        stages=tuple(_maximum(found.maximum(s), found.tolerances) for s in found.stages)
        if found
        else (),
        arrays=arrays,
        diagnosis=next((str(d) for d in proof.diagnoses if d.framework == name), None),
        failure=failure,
        lower_precision=spec.lower_precision or None,
        single_losses=losses,
        double_losses=tuple(trace.losses.tolist()) if trace else (),
    )


def _losses(worker: Worker, plan: ProofPlan, precision: str) -> tuple[float, ...]:
    """Of a short training in the run's own precision."""
    worker.build(plan.job(precision), plan.weights)
    return tuple(np.asarray(worker.train_epoch(plan.batches, plan.rates)[1]).tolist())


def _maximum(deviation: Deviation, tolerances: Mapping[str, float]) -> MaximumDeviation:
    return MaximumDeviation(
        stage=deviation.stage,
        where=deviation.where,
        value=deviation.value,
        tolerance=tolerances.get(deviation.stage),
    )


def _pairs(proof: Proof) -> list[PairDeviation]:
    """Every two frameworks, where they are farthest apart of what has a tolerance."""
    known = {name: trace.stages for name, trace in proof.traces.items()}
    bounds = tolerances(PRECISION, proof.reference.drift)
    pairs = []
    for one, other in combinations(known, 2):
        bounded = [d for d in compare(known[other], known[one]) if d.stage in bounds]
        maximum = max(bounded, key=lambda d: d.value)
        pairs.append(PairDeviation(frameworks=(one, other), maximum=_maximum(maximum, bounds)))
    return pairs


def chosen(folder: RunFolder, names: Sequence[str]) -> list[str]:
    """The frameworks of the run that this version knows and that follow the protocol, or ``names``.

    Raises:
        BenchError: one that the run did not train, or that follows a protocol of its own.
    """
    trained = folder.manifest.experiment.frameworks
    names = [canonical(name) for name in names]
    if missing := [name for name in names if name not in trained]:
        raise BenchError(
            f"the run in {folder.path} trained no {missing[0]}: choose from {', '.join(trained)}"
        )
    check_certified([find_backend(name) for name in names])
    return [name for name in names or trained if name in backends() and backends()[name].certified]


def check_certified(specs: Sequence[BackendSpec]) -> None:
    """Refuse variants that cannot be in a certificate.

    Raises:
        BenchError: names the first one and the reason.
    """
    for spec in specs:
        if not spec.certified:
            raise BenchError(f"'{spec.name}' has no parity certificate: {spec.deviation}")

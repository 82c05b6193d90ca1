"""``parity.json``: what ``bench parity --run`` found, kept beside the run that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from harness import __version__
from harness.backends.spec import BackendSpec
from harness.data.reader import open_dataset
from harness.errors import BenchError, WorkerError
from harness.execution.inputs import first_weights
from harness.parity.deviations import TOLERANCE, Deviation, compare
from harness.parity.proof import Proof, Status, prove
from harness.parity.trace import Plan, make_plan, started
from harness.plugins import FrameworkName, backends, canonical, find_backend, find_model
from harness.protocol.positives import balancing_weights
from harness.results.folder import DatasetEntry, RunFolder, write_atomically
from harness.results.records import Record

FILE = "parity.json"
PRECISION = "float64"


class Worst(Record):
    """The largest deviation of a stage."""

    stage: str
    where: str
    value: float
    tolerance: float | None


class Held(Record):
    """One framework held against the reference."""

    framework: FrameworkName
    stages: tuple[Worst, ...] = ()
    """In the order of computation; none where it failed, or where it is the reference itself."""
    arrays: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By stage and name: the deviation of every array."""
    diagnosis: str | None = None
    """What is wrong, where anything deviates."""
    failure: str | None = None
    reduced: str | None = None
    """What it computes in less than single precision: it is held against nothing in float64."""
    single_losses: tuple[float, ...] = ()
    """Of its training in the run's own precision, step by step."""
    double_losses: tuple[float, ...] = ()
    """The same in float64."""


class Pair(Record):
    """The stage at which two frameworks are farthest apart."""

    frameworks: tuple[FrameworkName, FrameworkName]
    worst: Worst


class Section(Record):
    """All frameworks with one network on one data set."""

    model: str
    dataset: str
    optimizer: str
    batch_size: int
    steps: int
    seed: int
    reference_losses: tuple[float, ...]
    """Of PyTorch in float64, step by step."""
    held: tuple[Held, ...]
    pairs: tuple[Pair, ...]


class Certificate(Record):
    """What was proven of a run."""

    schema_version: Literal[1] = 1
    harness_version: str
    created: str
    sections: tuple[Section, ...]


def certify(
    folder: RunFolder, specs: Sequence[BackendSpec], steps: int, status: Status
) -> tuple[Certificate, list[Proof]]:
    """Prove what the run in ``folder`` trained, from the weights and batches of its first seed.

    Raises:
        BenchError: a data set or weight file is gone, or no longer what the run trained on; or
            the reference failed.
    """
    experiment = folder.manifest.experiment
    sections, proofs = [], []
    for model in experiment.models:
        for name, entry in folder.manifest.datasets.items():
            plan = _plan(folder, model, entry, steps)
            exact = [spec for spec in specs if not spec.lower_precision]
            proof = prove(exact, plan, PRECISION, status)
            proofs.append(proof)
            sections.append(_section(folder, name, specs, proof, status))
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
            f"cannot read {path}: {first}; delete it, or make it again with bench parity --run"
        ) from error


def _plan(folder: RunFolder, model: str, entry: DatasetEntry, steps: int) -> Plan:
    experiment = folder.manifest.experiment
    training, seed = experiment.training, experiment.seeds[0]
    path = Path(entry.path)
    with open_dataset(path, memory_budget=0) as data:
        if data.sha256() != entry.sha256:
            raise BenchError(
                f"{path} is not the file that the run in {folder.path} trained on: put that back"
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
    )


def _section(
    folder: RunFolder, dataset: str, specs: Sequence[BackendSpec], proof: Proof, status: Status
) -> Section:
    training = folder.manifest.experiment.training
    plan = proof.plan
    return Section(
        model=plan.model,
        dataset=dataset,
        optimizer=training.optimizer.name,
        batch_size=training.batch_size,
        steps=len(plan.batches),
        seed=folder.manifest.experiment.seeds[0],
        reference_losses=tuple(proof.reference.losses.tolist()),
        held=tuple(_held(spec, proof, training.precision, status) for spec in specs),
        pairs=tuple(_pairs(proof)),
    )


def _held(spec: BackendSpec, proof: Proof, precision: str, status: Status) -> Held:
    name = spec.name
    verdict = next((v for v in proof.verdicts if v.framework == name), None)
    trace = proof.traces.get(name)
    arrays: dict[str, dict[str, float]] = {}
    for deviation in verdict.deviations if verdict else ():
        arrays.setdefault(deviation.stage, {})[deviation.name] = float(f"{deviation.value:.3g}")
    failure = proof.failures.get(name)
    losses: tuple[float, ...] = ()
    if failure is None:
        try:
            with status(f"{proof.plan.model}: {name} in {precision}"):
                losses = _losses(spec, proof.plan, precision)
        except WorkerError as error:
            failure = " ".join(str(error).split())
    return Held(
        framework=name,
        stages=tuple(_worst(verdict.worst(s)) for s in verdict.stages) if verdict else (),
        arrays=arrays,
        diagnosis=next((str(d) for d in proof.diagnoses if d.framework == name), None),
        failure=failure,
        reduced=spec.lower_precision or None,
        single_losses=losses,
        double_losses=tuple(trace.losses.tolist()) if trace else (),
    )


def _losses(spec: BackendSpec, plan: Plan, precision: str) -> tuple[float, ...]:
    """Of a short training in a process of its own."""
    with started(spec, plan.threads) as worker:
        worker.build(plan.task(precision), plan.weights)
        return tuple(np.asarray(worker.train_epoch(plan.batches, plan.rates)[1]).tolist())


def _worst(deviation: Deviation) -> Worst:
    return Worst(
        stage=deviation.stage,
        where=deviation.where,
        value=deviation.value,
        tolerance=TOLERANCE[PRECISION].get(deviation.stage),
    )


def _pairs(proof: Proof) -> list[Pair]:
    """Every two frameworks, where they are farthest apart of what is judged."""
    known = {name: trace.stages for name, trace in proof.traces.items()}
    pairs = []
    for one, other in combinations(known, 2):
        judged = [d for d in compare(known[other], known[one]) if d.stage in TOLERANCE[PRECISION]]
        worst = max(judged, key=lambda d: d.value)
        pairs.append(Pair(frameworks=(one, other), worst=_worst(worst)))
    return pairs


def asked(folder: RunFolder, names: Sequence[str]) -> list[str]:
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

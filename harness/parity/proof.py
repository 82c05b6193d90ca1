"""Every framework held against the reference, and against every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from harness.backends.spec import BackendSpec
from harness.errors import BenchError, WorkerError
from harness.parity.deviations import REFERENCE, Verdict, judge
from harness.parity.diagnosis import FACTORY, Diagnosis, Reference, diagnose, evidence
from harness.parity.mistakes import MistakenTask
from harness.parity.trace import Plan, Remote, Trace, started, trace
from harness.plugins import backends

Status = Callable[[str], AbstractContextManager[object]]
"""Shows a person what is being computed, while the context lasts."""


@dataclass
class Proof:
    """What was found from one plan, in the order of the frameworks."""

    plan: Plan
    precision: str
    reference: Trace
    traces: dict[str, Trace] = field(default_factory=dict)
    """By framework; of the reference in float64 there is no other."""
    verdicts: list[Verdict] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """By framework what went wrong, in a line."""

    @property
    def holds(self) -> bool:
        return not self.failures and not any(verdict.beyond for verdict in self.verdicts)


def prove(specs: Sequence[BackendSpec], plan: Plan, precision: str, status: Status) -> Proof:
    """``specs`` held against PyTorch in float64, and a name for whatever deviates.

    Raises:
        BenchError: something a person must mend, or the reference failed.
    """
    try:
        with status(f"{plan.model}: {REFERENCE} in float64"):
            reference = trace(backends()[REFERENCE], plan, "float64")
    except WorkerError as error:
        raise BenchError(f"'{REFERENCE}', which all are held against, failed: {error}") from error
    proof = Proof(plan=plan, precision=precision, reference=reference)
    for spec in specs:
        if spec.name == REFERENCE and precision == "float64":
            proof.traces[spec.name] = reference
            continue
        try:
            with status(f"{plan.model}: {spec.name}"):
                proof.traces[spec.name] = trace(spec, plan, precision)
        except WorkerError as error:
            proof.failures[spec.name] = " ".join(str(error).split())
            continue
        found = proof.traces[spec.name]
        proof.verdicts.append(judge(spec.name, plan.model, precision, found, reference))
    _name(proof, status)
    return proof


def _name(proof: Proof, status: Status) -> None:
    """Name what is wrong, all in one process of the reference, started where it is needed."""
    wrong = [verdict for verdict in proof.verdicts if verdict.beyond]
    if not wrong:
        return
    with started(replace(backends()[REFERENCE], factory=FACTORY), proof.plan.threads) as worker:
        remote = Remote(worker)

        def build(task: MistakenTask) -> Reference:
            worker.build(task, proof.plan.weights)
            return remote

        for verdict in wrong:
            found = proof.traces[verdict.framework]
            try:
                with status(f"{verdict.model}: what is wrong in {verdict.framework}"):
                    named = diagnose(verdict, found, proof.reference, proof.plan, build)
            except WorkerError as error:
                named = Diagnosis(
                    framework=verdict.framework,
                    model=verdict.model,
                    stage=verdict.beyond[0].stage,
                    mistakes=(),
                    words=f"{evidence(verdict, proof.plan)}; its cause was not found, for {error}",
                )
            if named is not None:
                proof.diagnoses.append(named)

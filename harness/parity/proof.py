"""Every framework compared with the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from threadpoolctl import threadpool_limits

from harness.backends.spec import BackendSpec
from harness.errors import WorkerError
from harness.parity.deviations import Comparison, evaluate
from harness.parity.diagnosis import Diagnosis, diagnose
from harness.parity.trace import ProofPlan, Trace, Workers, trace, trace_reference

Status = Callable[[str], AbstractContextManager[object]]
"""Shows a person what is being computed, while the context lasts."""


@dataclass
class Proof:
    """What was found from one plan, in the order of the frameworks."""

    plan: ProofPlan
    precision: str
    reference: Trace
    traces: dict[str, Trace] = field(default_factory=dict)
    """By framework."""
    comparisons: list[Comparison] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """By framework what went wrong, in a line."""

    @property
    def dataset(self) -> str:
        """Name of its file, without the ending."""
        return self.plan.dataset.stem

    @property
    def holds(self) -> bool:
        return not self.failures and not any(found.beyond for found in self.comparisons)


def prove(
    specs: Sequence[BackendSpec], plan: ProofPlan, precision: str, workers: Workers, status: Status
) -> Proof:
    """``specs`` compared with the NumPy reference in float64, and a name for what deviates.

    Raises:
        BenchError: something a person must fix.
    """
    workers.start(specs)
    with status(f"{plan.model}: reference in float64"):
        reference = trace_reference(plan, precision)
    proof = Proof(plan=plan, precision=precision, reference=reference)
    for spec in specs:
        try:
            with status(f"{plan.model}: {spec.name}"):
                found = trace(workers.get(spec), plan, precision)
        except WorkerError as error:
            proof.failures[spec.name] = " ".join(str(error).split())
            continue
        proof.traces[spec.name] = found
        comparison = evaluate(spec.name, plan.model, precision, found, proof.reference)
        proof.comparisons.append(comparison)
        if comparison.beyond:
            with status(f"{plan.model}: what is wrong in {spec.name}"):
                _name(proof, comparison, found)
    return proof


def _name(proof: Proof, comparison: Comparison, found: Trace) -> None:
    with threadpool_limits(proof.plan.threads):
        diagnosis = diagnose(comparison, found, proof.reference, proof.plan)
    if diagnosis is not None:
        proof.diagnoses.append(diagnosis)

"""A backend under test, in a worker process as in a run, and what all tests ask of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.backends.spec import BackendSpec
from harness.config import Optimizer, available_cpus
from harness.execution.worker import Worker
from harness.parity.deviations import TOLERANCE, by_name, deviation, evaluate
from harness.parity.trace import Remote, follow
from harness.plugins import models
from harness.testing.reference import Expected, expected_weights, mapped

STEP_10 = {"float64": TOLERANCE["float64"]["step 10"], "float32": 1e-2}
"""By precision, of parameters after ten steps; in float32 training amplifies rounding."""
LOWER_PRECISION = 2**-5
"""Relative deviation of the logits of a variant that computes in a lower precision than float32."""


@contextmanager
def running(spec: BackendSpec) -> Iterator[Worker]:
    """A worker process with its framework imported, on one thread."""
    with (
        tempfile.TemporaryFile() as log,
        Worker(spec, threads=1, cpus=available_cpus(), log=log) as worker,
    ):
        worker.import_framework()
        yield worker


def chosen(kind: str, config: pytest.Config) -> tuple[str, ...]:
    """The names that the option of this kind gives; none where the plug-in is not active."""
    return tuple(config.getoption(kind, []))


def highest_precision(spec: BackendSpec) -> str:
    return max(spec.precisions)  # "float64" comes after "float32"


def supported_models(spec: BackendSpec) -> list[str]:
    """Models that are installed and that the backend has a network for."""
    return [name for name, card in models().items() if spec.find_network(card) is not None]


def check_parity(worker: Worker, spec: BackendSpec, expected: Expected, precision: str) -> None:
    """Fail with what deviates from the reference, stage by stage, by more than its tolerance."""
    plan = expected.plan
    worker.build(plan.task(precision), plan.weights)
    found = follow(Remote(worker), plan)
    if spec.lower_precision:
        (logits,) = found.stages["logits"].values()
        (reference,) = expected.trace.stages["logits"].values()
        assert deviation("logits", "", logits, reference).value < LOWER_PRECISION
        return
    comparison = evaluate(spec.name, plan.model, precision, found, expected.trace)
    beyond = [f"{found} deviates by {found.value:.1e}" for found in comparison.beyond]
    assert not beyond, f"{plan.model} in {precision}: " + "; ".join(beyond)


def check_update_rule(worker: Worker, spec: BackendSpec, model: str, optimizer: Optimizer) -> None:
    """Fail if parameters deviate after ten steps, in the highest precision of the backend."""
    plan, reference = expected_weights(model, optimizer)
    precision = highest_precision(spec)
    worker.build(plan.task(precision), plan.weights)
    worker.train_epoch(plan.batches, plan.rates)
    found = by_name("step 10", worker.save_weights(), reference)
    worst = max(found, key=lambda deviation: deviation.value)
    bound = LOWER_PRECISION if spec.lower_precision else STEP_10[precision]
    assert worst.value < bound, f"{optimizer.name}: {worst} deviates by {worst.value:.1e}"


def check_maps(worker: Worker, expected: Expected, precision: str) -> None:
    """Fail if activation maps, from the weights of the plan, deviate from the reference's."""
    plan = expected.plan
    worker.build(plan.task(precision), plan.weights)
    maps = worker.activation_maps("test", *mapped(plan))
    found = deviation("activation maps", "", maps, expected.maps)
    assert found.value < 10 * TOLERANCE[precision]["logits"], str(found)

"""A backend under test, in a worker process as in a run, and comparisons with the reference."""

from __future__ import annotations

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.backends.spec import BackendSpec
from harness.config import Optimizer
from harness.execution.worker import Worker
from harness.parity.deviations import TOLERANCE, by_name, deviation, evaluate
from harness.parity.trace import ProofPlan, Remote, follow
from harness.plugins import models
from harness.protocol.optimizer import same_arrays
from harness.protocol.weights import Weights
from harness.testing.reference import (
    Expected,
    expected_maps,
    expected_training,
    mapped,
    plan_for,
)

STEP_10 = {"float64": TOLERANCE["float64"]["step 10"], "float32": 1e-2}
"""By precision, of parameters after ten steps; in float32 training amplifies rounding."""
MAPS = {"float64": 1e-8, "float32": 1e-3}
"""By precision, of activation maps."""
LOWER_PRECISION = 2**-5
"""Of a variant that computes in a lower precision than float32: bfloat16 rounds by up to 2^-9, and
logits are sums of many products."""


class Subject:
    """A backend in its process, which builds a network only where the job is another one."""

    def __init__(self, spec: BackendSpec, worker: Worker) -> None:
        self.spec = spec
        self.worker = worker
        self._job: TrainingJob | None = None

    def build(self, plan: ProofPlan, precision: str) -> Worker:
        """The process, ready to train the network of ``plan`` from its weights."""
        if plan.job(precision) == self._job:
            self.worker.load_weights(plan.weights)
        else:
            self.build_anew(plan, precision)
        return self.worker

    def build_anew(self, plan: ProofPlan, precision: str) -> Weights:
        """Build the network of ``plan``; returns its weights as read back."""
        self._job = plan.job(precision)
        _, echoed = self.worker.build(self._job, plan.weights)
        return echoed


def chosen(kind: str, config: pytest.Config) -> tuple[str, ...]:
    """The names that the option of this kind gives; none where the plug-in is not active."""
    return tuple(config.getoption(kind, []))


def supported_models(spec: BackendSpec) -> list[str]:
    """Models that are installed and that the backend has a network for."""
    return [name for name, card in models().items() if spec.find_network(card) is not None]


def highest_precision(spec: BackendSpec) -> str:
    return max(spec.precisions)  # "float64" comes after "float32"


def check_parity(subject: Subject, expected: Expected, precision: str) -> None:
    """Fail with what deviates from the reference, stage by stage, by more than its tolerance."""
    plan, spec = expected.plan, subject.spec
    found = follow(Remote(subject.build(plan, precision)), plan)
    if spec.lower_precision:
        (logits,) = found.stages["logits"].values()
        (reference,) = expected.trace.stages["logits"].values()
        assert deviation("logits", "", logits, reference).value < LOWER_PRECISION
        return
    comparison = evaluate(spec.name, plan.model, precision, found, expected.trace)
    beyond = [f"{found} deviates by {found.value:.1e}" for found in comparison.beyond]
    known = [f"\nknown: {problem}" for problem in spec.present_problems()]
    assert not beyond, f"{plan.model} in {precision}: " + "; ".join(beyond) + "".join(known)


def check_update_rule(subject: Subject, model: str, optimizer: Optimizer) -> None:
    """Fail if parameters deviate after ten steps, in the highest precision of the backend.

    Or its optimiser state, if it can be saved.
    """
    plan, precision = plan_for(model, optimizer), highest_precision(subject.spec)
    worker = subject.build(plan, precision)
    worker.train_epoch(plan.batches, plan.rates)
    weights, wanted = expected_training(model, optimizer)
    found = by_name("step 10", worker.save_weights(), weights)
    state = worker.save_optimizer()
    if state is not None and not subject.spec.lower_precision:
        assert (state.steps, state.slots.keys()) == (wanted.steps, wanted.slots.keys())
        for slot, arrays in wanted.slots.items():
            found += by_name(slot, state.slots[slot], arrays)
    worst = max(found, key=lambda deviation: deviation.value)
    bound = LOWER_PRECISION if subject.spec.lower_precision else STEP_10[precision]
    assert worst.value < bound, f"{optimizer.name}: {worst} deviates by {worst.value:.1e}"


def check_saved_training(subject: Subject, model: str, optimizer: Optimizer) -> None:
    """Fail unless a training that is saved half-way goes on to the last bit alike.

    Skips where the backend saves no optimiser state.
    """
    plan, half = plan_for(model, optimizer), len(plan_for(model, optimizer).batches) // 2
    worker = subject.build(plan, subject.spec.precisions[0])
    _, losses = worker.train_epoch(plan.batches, plan.rates)
    wanted = worker.save_weights(), worker.save_optimizer()
    if wanted[1] is None:
        pytest.skip(f"{subject.spec.name} saves no optimiser state: runs have no checkpoints of it")

    worker.load_weights(plan.weights)
    worker.train_epoch(plan.batches[:half], plan.rates[:half])
    weights, state = worker.save_weights(), worker.save_optimizer()
    assert state is not None
    worker.train_epoch(plan.batches, plan.rates)  # what is loaded takes the place of all this
    worker.load_weights(weights)
    worker.load_optimizer(state)
    echoed = worker.save_optimizer()
    assert echoed is not None
    assert state.equals(echoed), "optimiser state is read back as it was loaded"
    assert same_arrays(worker.save_weights(), weights)
    _, rest = worker.train_epoch(plan.batches[half:], plan.rates[half:])
    np.testing.assert_array_equal(rest, losses[half:])
    found = worker.save_optimizer()
    assert found is not None
    assert same_arrays(worker.save_weights(), wanted[0]), "weights at the end"
    assert found.equals(wanted[1]), "optimiser state at the end"


def check_maps(subject: Subject, model: str, optimizer: Optimizer) -> None:
    """Fail if activation maps deviate, in the highest precision of the backend."""
    plan, precision = plan_for(model, optimizer), highest_precision(subject.spec)
    maps = subject.build(plan, precision).activation_maps("test", *mapped(plan))
    worst = deviation("activation maps", "", maps, expected_maps(model, optimizer))
    assert worst.value < MAPS[precision], f"{worst} deviates by {worst.value:.1e}"

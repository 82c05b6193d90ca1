"""What the reference computes: the only place of the kit that knows which it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.data.schema import Task
from harness.parity.trace import ProofPlan, Trace, make_plan, trace_reference
from harness.plugins import find_model
from harness.protocol.optimizer import OptimizerState
from harness.protocol.positives import balancing_weights
from harness.protocol.weights import Weights
from harness.reference.training import Reference
from harness.testing.datasets import random_dataset, shape_for

STEPS = 10
BATCH = 16
MAPS = 6
"""Images whose activation maps are compared."""


@dataclass(frozen=True)
class Expected:
    """What a backend has to compute."""

    plan: ProofPlan
    trace: Trace
    """In float64."""


@cache
def plan_for(model: str, optimizer: Optimizer, task: Task = "multiclass") -> ProofPlan:
    """Ten steps on a small random data set; positives of rare labels weigh more."""
    dataset = random_dataset(shape_for(find_model(model)), task)
    positive_weights: tuple[float, ...] = ()
    if task == "multilabel":
        with open_dataset(dataset) as data:
            positive_weights = balancing_weights(data.split("train").labels)
    return make_plan(
        model,
        dataset,
        data_dir=dataset.parent,
        optimizer=optimizer,
        batch_size=BATCH,
        steps=STEPS,
        threads=1,
        positive_weights=positive_weights,
    )


@cache
def expected(model: str, optimizer: Optimizer, task: Task = "multiclass") -> Expected:
    """What the reference computes from :func:`plan_for` of the same arguments."""
    plan = plan_for(model, optimizer, task)
    return Expected(plan, trace_reference(plan))


@cache
def expected_training(model: str, optimizer: Optimizer) -> tuple[Weights, OptimizerState]:
    """Weights, and what the update rule keeps, after all steps of :func:`plan_for`, in float64."""
    plan = plan_for(model, optimizer)
    reference = Reference(plan.job("float64"))
    reference.load_weights(plan.weights)
    reference.train_epoch(plan.batches, plan.rates)
    return reference.save_weights(), reference.save_optimizer()


@cache
def expected_maps(model: str, optimizer: Optimizer) -> NDArray[np.floating]:
    """Activation maps (MAPS, h, w) of test images, from the weights of the plan, in float64."""
    plan = plan_for(model, optimizer)
    reference = Reference(plan.job("float64"))
    reference.load_weights(plan.weights)
    return reference.activation_maps("test", *mapped(plan))


def mapped(plan: ProofPlan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images and outputs of the activation maps that are compared."""
    rows = np.arange(MAPS)
    with open_dataset(plan.dataset) as data:
        return rows, rows % data.outputs

"""From the same weights and batches, every framework computes what the NumPy reference computes.

Every network in every framework, and float32 over 100 steps. Update rules, several labels,
activation maps and the tuned variants are the conformance kit's (tests/testing).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from harness.config import Optimizer
from harness.plugins import backends, find_model

LOWER_PRECISION = [name for name, spec in backends().items() if spec.lower_precision]
EXACT = [
    name
    for name, spec in backends().items()
    if spec.certified and not spec.lower_precision and "float64" in spec.precisions
]
# A cold compilation takes long; these compute the networks of others in another order.
EAGER = [name for name in EXACT if name not in ("torch-compile", "torch-channels-last", "jax-scan")]
SGD = Optimizer(learning_rate=0.05)
GENTLE = Optimizer(learning_rate=0.002)
NIGHTLY = os.environ.get("BENCH_NIGHTLY") == "1"


@dataclass(frozen=True)
class Case:
    """What is compared."""

    model: str
    dataset: str = "digits"
    optimizer: Optimizer = SGD
    batch_size: int = 32
    steps: int = 10


LENET5, LENET5_RELU = Case("lenet5"), Case("lenet5-relu")
LONG = Case("lenet5", batch_size=64, steps=100)
XRAYS = Case("xraynet", "small-xrays", GENTLE, batch_size=8)
RESNET = Case("resnet18", "few-xrays", GENTLE, batch_size=4, steps=2)
DENSENET = Case("densenet121", "high-xrays", GENTLE, batch_size=6, steps=2)
# XLA compiles deep networks anew for each of the proof's batch sizes: ResNet-18 for 25 minutes.
WITHOUT_XLA = [name for name in EAGER if name not in ("jax", "jax-s2d")]
PAIRS = [
    *((name, case) for name in EAGER for case in (LENET5, LENET5_RELU, XRAYS)),
    *((name, DENSENET) for name in WITHOUT_XLA),
]
RARE = [*((name, RESNET) for name in WITHOUT_XLA), ("torch-compile", XRAYS), ("jax", DENSENET)]
"""What the nightly run compares besides."""
if NIGHTLY:
    PAIRS += RARE
else:
    # Space-to-depth changes the first convolution alone.
    PAIRS.remove(("jax-s2d", LENET5_RELU))


def has_network(framework: str, case: Case) -> bool:
    return backends()[framework].unsupported(find_model(case.model), "float64") is None


def name_of(value: object) -> str:
    if isinstance(value, Case):
        return f"{value.model}-{value.dataset}-{value.optimizer.name}"
    return str(value)


@pytest.mark.parametrize(
    ("framework", "case"), [pair for pair in PAIRS if has_network(*pair)], ids=name_of
)
def test_it_agrees_in_float64(found: Callable, framework: str, case: Case) -> None:
    """Logits, loss, gradients, steps, augmentation and predictions, running statistics too."""
    one = found(framework, case)
    assert one.trace.stages["logits"][""].dtype == np.float64
    assert not one.comparison.beyond
    assert {*one.comparison.stages} >= {"logits", "gradients", "step 1", "step 2", "augmentation"}
    assert not any("running" in name for name in one.trace.stages["gradients"])


@pytest.mark.parametrize("framework", EAGER)
def test_float32_losses_agree_over_100_steps(laboratory, framework: str) -> None:
    reference, found = laboratory.reference(LONG).losses, laboratory.losses(framework, LONG)
    assert len(found) == 100
    assert 0 < np.abs(found / reference - 1).max() < 1e-4
    assert found[-10:].mean() < 0.5 * found[0], "the network did not train"


@pytest.mark.parametrize("framework", LOWER_PRECISION)
def test_a_lower_precision_changes_the_digits_and_not_the_training(
    laboratory, framework: str
) -> None:
    """bfloat16 has 8 bits: a rounding is up to 2^-9, and logits are sums of many."""
    reference, plan = laboratory.reference(LONG), laboratory.plan(LONG)
    losses, worker = laboratory.losses(framework, LONG), laboratory.worker(framework, LONG.model)
    # Weights and their update keep their digits.
    assert all(
        array.dtype == np.float32 and np.any(array.view(np.uint32) & 0xFFFF)
        for array in worker.save_weights().values()
    )
    worker.load_weights(plan.weights)
    logits, *_ = worker.loss_and_gradients(plan.batches[0])
    exact = reference.stages["logits"][""]
    assert logits.dtype == np.float32
    assert 2**-12 < np.abs(logits - exact).max() / np.abs(exact).max() < 2**-5
    assert np.abs(losses / reference.losses - 1)[:10].max() < 0.02
    assert losses[-10:].mean() == pytest.approx(reference.losses[-10:].mean(), rel=0.1)

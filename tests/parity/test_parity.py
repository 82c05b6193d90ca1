"""From the same weights and batches, every backend computes what the reference computes.

The reference is eager PyTorch in float64. Deviations are relative to the largest magnitude in
each array: an element that happens to be near zero has no relative precision of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from harness.config import Optimizer
from harness.plugins import backends

REFERENCE = "torch"
REDUCED = [name for name, spec in backends().items() if spec.reduced]
# What computes the network of another row in another order.
VARIANTS = ["torch-channels-last", "jax-scan"]
OTHERS = [name for name in backends() if name not in (REFERENCE, *REDUCED)]
MODELS = ["lenet5", "lenet5-relu"]
# A cold compilation takes long; the variant with the custom pooling operator is the telling one.
EAGER = [name for name in OTHERS if name not in ("torch-compile", *VARIANTS)]
PAIRS = [
    *[(name, model) for name in EAGER for model in MODELS],
    *[(name, "lenet5") for name in VARIANTS],
    ("torch-compile", "lenet5-relu"),
]
XRAY_MODELS = ["xraynet", "resnet18", "densenet121"]
# As above: of the deep networks a cold compilation takes minutes; and for jax-s2d they are jax's.
XRAY_PAIRS = [
    (name, model)
    for name in OTHERS
    for model in XRAY_MODELS
    if name not in ("torch-compile", "jax-s2d", *VARIANTS) or model == "xraynet"
]
GENTLE = Optimizer(learning_rate=0.002)
ADAM = Optimizer(name="adam", learning_rate=2e-3, weight_decay=1e-2)
ADAMW = Optimizer(name="adamw", learning_rate=2e-3, weight_decay=0.5)
SGD_WITH_DECAY = Optimizer(learning_rate=0.05, momentum=0.9, weight_decay=1e-2)


def deviation(found: object, reference: object) -> float:
    found, reference = np.asarray(found), np.asarray(reference)
    assert found.shape == reference.shape
    return float(np.abs(found - reference).max() / np.abs(reference).max())


def largest(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    assert found.keys() == reference.keys()
    return max(deviation(found[name], reference[name]) for name in reference)


@pytest.mark.parametrize(("framework", "model"), PAIRS)
def test_float64_agrees_to_1e_9(trace: Callable, framework: str, model: str) -> None:
    reference, found = trace(REFERENCE, model, "float64"), trace(framework, model, "float64")
    assert found.logits.dtype == np.float64
    assert deviation(found.logits, reference.logits) < 1e-9
    assert deviation(found.loss, reference.loss) < 1e-9
    assert largest(found.gradients, reference.gradients) < 1e-9
    assert largest(found.parameters_after_10, reference.parameters_after_10) < 1e-9
    assert np.abs(found.losses / reference.losses - 1)[:10].max() < 1e-9


@pytest.mark.parametrize("framework", EAGER)
def test_several_labels_an_image_agree_to_1e_9(trace: Callable, framework: str) -> None:
    reference = trace(REFERENCE, "lenet5", "float64", dataset="digit-bits")
    found = trace(framework, "lenet5", "float64", dataset="digit-bits")
    assert found.logits.shape[1] == 4
    assert deviation(found.logits, reference.logits) < 1e-9
    assert deviation(found.loss, reference.loss) < 1e-9
    assert largest(found.gradients, reference.gradients) < 1e-9
    assert largest(found.parameters_after_10, reference.parameters_after_10) < 1e-9


@pytest.mark.parametrize(("framework", "model"), XRAY_PAIRS)
def test_xray_networks_agree_running_statistics_included(
    trace: Callable, framework: str, model: str
) -> None:
    """With moved images and weights for positives."""
    course = ("float64", GENTLE, "small-xrays")
    reference, found = trace(REFERENCE, model, *course), trace(framework, model, *course)
    assert deviation(found.logits, reference.logits) < 1e-9
    assert deviation(found.loss, reference.loss) < 1e-9
    assert largest(found.gradients, reference.gradients) < 1e-9
    assert not any("running" in name for name in found.gradients)
    assert largest(found.parameters_after_10, reference.parameters_after_10) < 1e-8
    assert sum("running" in name for name in found.parameters_after_10) >= 8
    assert deviation(found.maps, reference.maps) < 1e-8


@pytest.mark.parametrize("framework", EAGER)
def test_class_activation_maps_agree(trace: Callable, framework: str) -> None:
    reference, found = trace(REFERENCE, "lenet5", "float64"), trace(framework, "lenet5", "float64")
    assert reference.maps.shape == (6, 5, 5)
    assert reference.maps.max() > 0
    assert deviation(found.maps, reference.maps) < 1e-8


@pytest.mark.parametrize("optimizer", [ADAM, ADAMW, SGD_WITH_DECAY], ids=["adam", "adamw", "sgd"])
@pytest.mark.parametrize("framework", ["jax", "knet", "julia-reference"])
def test_update_rules_agree_with_weight_decay(
    trace: Callable, framework: str, optimizer: Optimizer
) -> None:
    reference = trace(REFERENCE, "lenet5", "float64", optimizer)
    found = trace(framework, "lenet5", "float64", optimizer)
    assert largest(found.parameters_after_10, reference.parameters_after_10) < 1e-9
    plain = trace(REFERENCE, "lenet5", "float64")
    # The decay is large enough to be seen: the comparison is not of a term that is nought.
    assert largest(found.parameters_after_10, plain.parameters_after_10) > 1e-3


@pytest.mark.parametrize("framework", EAGER)
def test_float32_losses_agree_over_100_steps(trace: Callable, framework: str) -> None:
    reference, found = trace(REFERENCE, "lenet5", "float32"), trace(framework, "lenet5", "float32")
    assert len(found.losses) == 100
    assert np.abs(found.losses / reference.losses - 1).max() < 1e-4
    assert found.losses[-10:].mean() < 0.5 * found.losses[0], "the network did not train"


@pytest.mark.parametrize("framework", REDUCED)
def test_fewer_digits_change_the_digits_and_not_the_training(
    trace: Callable, framework: str
) -> None:
    """bfloat16 has 8 bits: a rounding is up to 2^-9, and logits are sums of many."""
    reference, found = trace(REFERENCE, "lenet5", "float32"), trace(framework, "lenet5", "float32")
    assert found.logits.dtype == np.float32
    assert 2**-12 < deviation(found.logits, reference.logits) < 2**-5
    assert np.abs(found.losses / reference.losses - 1)[:10].max() < 0.02
    assert found.losses[-10:].mean() == pytest.approx(reference.losses[-10:].mean(), rel=0.1)
    # Weights and their update keep their digits.
    assert all(
        array.dtype == np.float32 and np.any(array.view(np.uint32) & 0xFFFF)
        for array in found.parameters_after_10.values()
    )


def test_float32_of_the_reference_follows_its_float64(trace: Callable) -> None:
    single, double = (trace(REFERENCE, "lenet5", p) for p in ("float32", "float64"))
    assert np.abs(single.losses / double.losses - 1).max() < 1e-4
    assert not np.array_equal(single.losses, double.losses)

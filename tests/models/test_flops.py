"""What the cards say of work, against what PyTorch counts while its twins run."""

from __future__ import annotations

import importlib
import math

import pytest

from harness.plugins import models

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 96, 80)])
@pytest.mark.parametrize("name", models())
def test_operations_are_those_that_pytorch_counts(name, shape):
    from torch.utils.flop_counter import FlopCounterMode

    from harness.errors import BenchError

    card, classes, batch = models()[name], 7, 3
    try:
        card.parameters(shape, classes)
    except BenchError:
        pytest.skip(f"{name} cannot take images of {shape}")
    model = importlib.import_module(f"{card.package}.torch").NETWORK(card, shape, classes)
    # Shapes are enough to count: nothing is computed.
    model, images = model.to("meta"), torch.empty(batch, *shape, device="meta")
    with FlopCounterMode(display=False) as forward:
        model(images)
    with FlopCounterMode(display=False) as step:
        model(images).sum().backward()
    assert forward.get_total_flops() == batch * card.forward_flops(shape, classes)
    assert step.get_total_flops() == batch * card.training_flops(shape, classes)


def test_traffic_of_weights_is_shared_by_the_batch():
    card = models()["lenet5"]
    alone, shared = (card.training_bytes((1, 28, 28), 10, size, 4) for size in (1, 10**9))
    outputs = sum(math.prod(layer.output_shape) for layer in card.layers((1, 28, 28), 10))
    assert alone - shared == pytest.approx(8 * 4 * 61706, rel=1e-6)
    assert shared == pytest.approx(28 * 28 + 4 * 4 * outputs, rel=1e-6)

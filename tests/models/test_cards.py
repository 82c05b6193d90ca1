"""The cards of the networks for X-rays, against the counts that their papers' code has."""

from __future__ import annotations

import contextlib

import pytest

from harness.errors import BenchError
from harness.plugins import find_model, models


@pytest.mark.parametrize(
    ("model", "count", "gmacs"),
    [
        # torchvision's own table: 11,689,512 parameters, 1.81 GFLOPS (multiply-accumulates)
        ("resnet18", 11_689_512, 1.814),
        # 7,978,856 parameters, 2.83
        ("densenet121", 7_978_856, 2.834),
    ],
)
def test_sizes_are_torchvisions_on_imagenet(model, count, gmacs):
    card = find_model(model)
    assert card.trainable_size((3, 224, 224), 1000) == count
    assert card.forward_flops((3, 224, 224), 1000) == pytest.approx(2e9 * gmacs, rel=1e-3)


def test_the_small_stem_keeps_the_size():
    card = find_model("resnet18")
    small = {p.name: p.shape for p in card.parameters((1, 64, 64), 14)}
    large = {p.name: p.shape for p in card.parameters((1, 65, 64), 14)}
    assert small["conv1.weight"] == (64, 1, 3, 3)
    assert large["conv1.weight"] == (64, 1, 7, 7)
    assert card.layers((1, 64, 64), 14)[0].output_shape == (64, 64, 64)
    assert card.layers((1, 96, 96), 14)[0].output_shape == (64, 48, 48)


@pytest.mark.parametrize("model", models())
def test_running_statistics_are_not_trained(model):
    parameters = find_model(model).parameters((1, 64, 64), 2)
    still = {p.name.rsplit(".", 1)[1]: p.initializer for p in parameters if not p.trainable}
    has_norm = model not in ("lenet5", "lenet5-relu")
    assert still == ({"running_mean": "zeros", "running_var": "ones"} if has_norm else {})
    assert len({p.name for p in parameters}) == len(parameters)


@pytest.mark.parametrize("model", models())
def test_stem_and_head_are_layers_of_the_network(model):
    card = find_model(model)
    shapes = {p.name: p.shape for p in card.parameters((3, 64, 64), 5)}
    assert shapes[f"{card.stem}.weight"][1] == 3
    assert shapes[f"{card.head}.weight"][0] == 5
    assert card.layers((3, 64, 64), 5)[-1].output_shape == (5,)


@pytest.mark.parametrize("model", ["xraynet", "resnet18", "densenet121"])
def test_sides_need_not_be_equal_and_have_an_end(model):
    card = find_model(model)
    assert card.parameters((1, 64, 48), 2)
    smallest = next(side for side in range(1, 65) if _takes(card, side))
    assert smallest == {"xraynet": 16, "resnet18": 1, "densenet121": 29}[model]

    if smallest > 1:
        with pytest.raises(BenchError, match=f"images of {smallest - 1}x64 pixels"):
            card.parameters((1, smallest - 1, 64), 2)


def _takes(card, side):
    with contextlib.suppress(BenchError):
        return bool(card.parameters((1, side, side), 2))
    return False

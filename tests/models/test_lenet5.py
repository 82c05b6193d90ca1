from __future__ import annotations

import pytest

from harness.errors import BenchError
from harness.models.lenet5.card import SMALLEST
from harness.plugins import find_model


def test_parameters_of_the_paper_size():
    parameters = find_model("lenet5").parameters((1, 28, 28), 10)
    assert {parameter.name: parameter.shape for parameter in parameters} == {
        "conv1.weight": (6, 1, 5, 5),
        "conv1.bias": (6,),
        "conv2.weight": (16, 6, 5, 5),
        "conv2.bias": (16,),
        "dense1.weight": (120, 400),
        "dense1.bias": (120,),
        "dense2.weight": (84, 120),
        "dense2.bias": (84,),
        "dense3.weight": (10, 84),
        "dense3.bias": (10,),
    }


@pytest.mark.parametrize("model", ["lenet5", "lenet5-relu"])
@pytest.mark.parametrize(
    ("shape", "classes", "count", "flattened"),
    [
        ((1, 28, 28), 10, 61_706, 400),
        ((3, 32, 32), 10, 456 + 2_416 + 120 * 577 + 84 * 121 + 850, 16 * 6 * 6),
        ((1, 12, 28), 3, 156 + 2_416 + 120 * 81 + 84 * 121 + 255, 16 * 1 * 5),
        ((1, 28, 12), 2, 156 + 2_416 + 120 * 81 + 84 * 121 + 170, 16 * 5 * 1),
    ],
)
def test_parameter_counts(model, shape, classes, count, flattened):
    parameters = find_model(model).parameters(shape, classes)
    assert sum(parameter.size for parameter in parameters) == count
    widths = {parameter.name: parameter.shape for parameter in parameters}
    assert widths["dense1.weight"] == (120, flattened)
    assert widths["conv1.weight"] == (6, shape[0], 5, 5)


def test_work_of_the_paper_size():
    card = find_model("lenet5")
    layers = {layer.name: layer for layer in card.layers((1, 28, 28), 10)}
    assert {name: layer.macs for name, layer in layers.items() if layer.macs} == {
        "conv1": 6 * 25 * 28 * 28,
        "conv2": 16 * 6 * 25 * 10 * 10,
        "dense1": 120 * 400,
        "dense2": 84 * 120,
        "dense3": 10 * 84,
    }
    assert card.forward_flops((1, 28, 28), 10) == 2 * 416_520
    assert {name: layer.output_shape for name, layer in layers.items()} == {
        "conv1": (6, 28, 28),
        "pool1": (6, 14, 14),
        "conv2": (16, 10, 10),
        "pool2": (16, 5, 5),
        "dense1": (120,),
        "dense2": (84,),
        "dense3": (10,),
    }


def test_the_variants_differ_where_they_say():
    plain, relu = (find_model(name) for name in ("lenet5", "lenet5-relu"))
    assert (plain.activation, plain.pooling) == ("tanh", "average")
    assert (relu.activation, relu.pooling) == ("relu", "max")
    initializers = {
        card.name: {p.initializer for p in card.parameters((1, 28, 28), 10)}
        for card in (plain, relu)
    }
    assert initializers == {
        "lenet5": {"glorot_uniform", "zeros"},
        "lenet5-relu": {"he_uniform", "zeros"},
    }


@pytest.mark.parametrize("sides", [(SMALLEST - 1, 28), (28, SMALLEST - 1), (1, 1)])
def test_images_too_small(sides):
    with pytest.raises(BenchError, match=f"at least 12x12 pixels, these are {sides[0]}x{sides[1]}"):
        find_model("lenet5").parameters((1, *sides), 10)
    assert find_model("lenet5").parameters((1, SMALLEST, SMALLEST), 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [("lenet", "did you mean 'lenet5'"), ("zzz", r"unknown model 'zzz' \(known: lenet5, lenet5-")],
)
def test_unknown_model(name, message):
    with pytest.raises(BenchError, match=message):
        find_model(name)

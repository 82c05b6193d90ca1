from __future__ import annotations

import h5py
import numpy as np
import pytest

from harness.errors import BenchError
from harness.models import MODELS, find_model
from harness.models.card import Parameter
from harness.protocol.random import stream
from harness.protocol.weights import digest, initial_weights, load_weights, save_weights

LENET5 = find_model("lenet5").parameters((1, 28, 28), 10)


def test_streams_of_different_purposes_differ():
    draws = [
        stream(0, "ab", "c").random(),
        stream(0, "a", "bc").random(),
        stream(0, "abc").random(),
        stream(1, "ab", "c").random(),
        stream(0, "c", "ab").random(),
    ]
    assert len(set(draws)) == len(draws)
    assert stream(0, "ab", "c").random() == draws[0]


def test_a_parameter_is_drawn_alike_whatever_else_there_is():
    whole = initial_weights(LENET5, seed=3)
    for parameter in LENET5:
        alone = initial_weights([parameter], seed=3)
        np.testing.assert_array_equal(alone[parameter.name], whole[parameter.name])


@pytest.mark.parametrize("model", MODELS)
def test_values_fill_the_range_of_their_formula(model):
    parameters = find_model(model).parameters((1, 28, 28), 10)
    for parameter, (name, array) in zip(
        parameters, initial_weights(parameters, seed=0).items(), strict=True
    ):
        assert parameter.name == name
        assert array.dtype == np.float32
        assert array.shape == parameter.shape
        if name.endswith(".bias"):
            assert not array.any()
            continue
        outputs, inputs, *kernel = parameter.shape
        window = int(np.prod(kernel, dtype=int))
        fans = inputs * window + (outputs * window if model == "lenet5" else 0)
        bound = (6 / fans) ** 0.5
        assert np.abs(array).max() <= np.float32(bound)
        assert np.abs(array).max() > 0.9 * bound
        assert array.min() < 0 < array.max()


@pytest.mark.parametrize(
    ("model", "seed", "expected"),
    [
        ("lenet5", 0, "41cddb249b115222"),
        ("lenet5", 1, "3efe103bb0aa668c"),
        ("lenet5-relu", 0, "67de96317434108d"),
    ],
)
def test_known_weights(model, seed, expected):
    """Another digest means another recipe: runs before and after cannot be compared."""
    parameters = find_model(model).parameters((1, 28, 28), 10)
    assert digest(initial_weights(parameters, seed))[:16] == expected


def test_digest_sees_names_shapes_types_and_values():
    a = np.arange(6, dtype=np.float32)
    versions = [
        {"a": a},
        {"b": a},
        {"a": a.reshape(2, 3)},
        {"a": a.astype(np.float64)},
        {"a": a + 1},
        {"a": a, "b": a},
    ]
    assert len({digest(version) for version in versions}) == len(versions)
    assert digest({"a": a, "b": a + 1}) == digest({"b": a + 1, "a": a})
    assert digest({"a": np.asfortranarray(a.reshape(2, 3))}) == digest({"a": a.reshape(2, 3)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path, dtype):
    weights = {name: w.astype(dtype) for name, w in initial_weights(LENET5, seed=0).items()}
    path = tmp_path / "w.h5"
    save_weights(path, weights, model="lenet5")
    again = load_weights(path, LENET5)
    assert digest(again) == digest(weights)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.h5"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.h5"
    save_weights(path, initial_weights(LENET5, seed=0), model="lenet5")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, {"a": np.array([object()])}, model="lenet5")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.h5"]


def _other_schema(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = "weights/2"


def _without_parameter(path):
    with h5py.File(path, "a") as file:
        del file["conv1.bias"]


def _with_another(path):
    with h5py.File(path, "a") as file:
        file["conv9.bias"] = np.zeros(3)


def _other_shape(path):
    with h5py.File(path, "a") as file:
        del file["dense1.bias"]
        file["dense1.bias"] = np.zeros(7)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_other_schema, "not a weight file of schema weights/1"),
        (_without_parameter, "conv1.bias is missing"),
        (_with_another, "conv9.bias is unknown"),
        (_other_shape, r"dense1.bias has shape \(7,\), the network wants \(120,\)"),
        (lambda path: path.write_bytes(b"not HDF5"), "cannot read weights"),
        (lambda path: path.unlink(), "cannot read weights"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, damage, message):
    path = tmp_path / "w.h5"
    save_weights(path, initial_weights(LENET5, seed=0), model="lenet5")
    damage(path)
    with pytest.raises(BenchError, match=message) as caught:
        load_weights(path, LENET5)
    assert str(path) in str(caught.value)


def test_fans_of_a_convolution():
    kernel = Parameter(name="w", shape=(6, 3, 5, 4), initializer="zeros")
    assert (kernel.fan_in, kernel.fan_out, kernel.size) == (60, 120, 360)

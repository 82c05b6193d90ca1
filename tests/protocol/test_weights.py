from __future__ import annotations

import h5py
import numpy as np
import pytest

from harness.errors import BenchError
from harness.models.card import Parameter
from harness.plugins import find_model, models
from harness.protocol.random import stream
from harness.protocol.weights import (
    Origin,
    digest,
    initial_weights,
    load_weights,
    read_weights,
    save_weights,
)

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


@pytest.mark.parametrize("model", models())
def test_values_fill_the_range_of_their_formula(model):
    parameters = find_model(model).parameters((1, 32, 32), 10)
    for parameter, (name, array) in zip(
        parameters, initial_weights(parameters, seed=0).items(), strict=True
    ):
        assert parameter.name == name
        assert array.dtype == np.float32
        assert array.shape == parameter.shape
        if len(parameter.shape) == 1:
            ones = not name.endswith((".bias", ".running_mean"))
            assert np.array_equal(array, np.full(parameter.shape, float(ones)))
            continue
        outputs, inputs, *kernel = parameter.shape
        window = int(np.prod(kernel, dtype=int))
        head = name in ("fc.weight", "classifier.weight")
        fans = inputs * window + (outputs * window if model == "lenet5" or head else 0)
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


@pytest.mark.parametrize(
    "origin",
    [
        Origin(),
        Origin(dataset="digits", seed=0),
        Origin(
            framework="torch",
            dataset="mine",
            task="multilabel",
            seed=2**40,
            image_shape=(3, 28, 30),
            classes=("é", "b b"),
        ),
    ],
)
def test_what_a_file_says_of_its_training_comes_back(tmp_path, origin):
    path = tmp_path / "w.h5"
    save_weights(path, initial_weights(LENET5, seed=0), model="lenet5-relu", origin=origin)
    file = read_weights(path)
    assert (file.model, file.origin) == ("lenet5-relu", origin)
    assert list(file.fitting(LENET5)) == [parameter.name for parameter in LENET5]


def test_strings_of_fixed_length_as_other_languages_write_them(tmp_path):
    path = tmp_path / "w.h5"
    save_weights(path, initial_weights(LENET5, seed=0), model="lenet5")
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = np.bytes_("weights/1")
        file.attrs["model"] = np.bytes_("lenet5-relu")
        file.attrs["classes"] = np.array(["a", "bc"], "S2")
    file = read_weights(path)
    assert (file.model, file.origin.classes) == ("lenet5-relu", ("a", "bc"))


def _integers(file):
    del file["conv1.bias"]
    file["conv1.bias"] = np.zeros(6, np.int64)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_integers, "parameter conv1.bias is int64, expected float32 or float64"),
        (lambda file: file.create_group("inner"), "parameter inner is no array, expected"),
        (lambda file: file.attrs.modify("image_shape", [28, 28]), "its image_shape is"),
        (lambda file: file.attrs.modify("image_shape", [1, 2.5, 3]), "its image_shape is"),
        (lambda file: file.attrs.modify("image_shape", "big"), "its image_shape is"),
        (lambda file: file.attrs.modify("seed", "lucky"), "its seed is"),
        (lambda file: file.attrs.modify("seed", [1, 2]), "its seed is"),
        (lambda file: file.attrs.create("schema", [1, 2]), "not a weight file of schema"),
    ],
)
def test_a_file_that_says_what_cannot_be(tmp_path, damage, message):
    path = tmp_path / "w.h5"
    save_weights(path, initial_weights(LENET5, seed=0), model="lenet5")
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(BenchError, match=message) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "w.h5"
    with pytest.raises(BenchError, match="cannot write"):
        save_weights(path, initial_weights(LENET5, seed=0), model="lenet5")


def test_fans_of_a_convolution():
    kernel = Parameter(name="w", shape=(6, 3, 5, 4), initializer="zeros")
    assert (kernel.fan_in, kernel.fan_out, kernel.size) == (60, 120, 360)

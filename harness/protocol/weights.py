"""Initial weights, and the HDF5 weight file through which weights travel between frameworks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.errors import BenchError
from harness.models.card import Parameter
from harness.protocol.random import stream

Weights = dict[str, NDArray[np.floating]]
"""Parameter name -> array in canonical layout: convolution (O, I, H, W), dense (O, I)."""

_SCHEMA = "weights/1"


def initial_weights(parameters: Sequence[Parameter], seed: int) -> Weights:
    """Draw the initial weights, float32, each from its own stream (seed, parameter name).

    * glorot_uniform: U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)
    * he_uniform: U(-a, a), a = sqrt(6 / fan_in) (He et al. 2015)
    """
    return {parameter.name: _draw(parameter, seed) for parameter in parameters}


def _draw(parameter: Parameter, seed: int) -> NDArray[np.float32]:
    match parameter.initializer:
        case "zeros":
            return np.zeros(parameter.shape, np.float32)
        case "glorot_uniform":
            bound = np.sqrt(6 / (parameter.fan_in + parameter.fan_out))
        case "he_uniform":
            bound = np.sqrt(6 / parameter.fan_in)
    uniform = stream(seed, "weights", parameter.name).random(parameter.shape)
    return np.asarray((2 * uniform - 1) * bound, np.float32)


def digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def save_weights(path: Path, weights: Mapping[str, NDArray[np.floating]], *, model: str) -> None:
    """Write a weight file: one dataset a parameter, attributes ``schema`` and ``model``."""
    temporary = path.with_name(path.name + ".partial")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["schema"] = _SCHEMA
            file.attrs["model"] = model
            for name, array in weights.items():
                file.create_dataset(name, data=array)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: Path, parameters: Sequence[Parameter]) -> Weights:
    """Read a weight file for a network with exactly ``parameters``.

    Raises:
        BenchError: not a weight file, or names or shapes that are not this network's.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema") != _SCHEMA:
                raise BenchError(f"{path} is not a weight file of schema {_SCHEMA}")
            weights = {name: np.asarray(file[name]) for name in file}
    except OSError as error:
        raise BenchError(f"cannot read weights from {path}: {error}") from error
    wanted = {parameter.name: parameter.shape for parameter in parameters}
    found = {name: array.shape for name, array in weights.items()}
    for name in sorted(wanted.keys() ^ found.keys()):
        raise BenchError(
            f"{path}: parameter {name} is {'missing' if name in wanted else 'unknown'}"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise BenchError(f"{path}: {name} has shape {found[name]}, the network wants {shape}")
    return weights

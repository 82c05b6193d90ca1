"""Initial weights, and the HDF5 weight file through which weights travel between frameworks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.errors import BenchError
from harness.files import check_regular, first_line, new_hdf5
from harness.models.card import Parameter
from harness.protocol.random import stream
from harness.untrusted import examine

Weights = dict[str, NDArray[np.floating]]
"""Parameter name -> array in canonical layout: convolution (O, I, H, W), dense (O, I)."""

_SCHEMA = "weights/1"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a weight file says of the training behind it; None where it does not say."""

    framework: str | None = None
    dataset: str | None = None
    """Its name."""
    task: str | None = None
    """``multiclass`` or ``multilabel``."""
    seed: int | None = None
    image_shape: tuple[int, int, int] | None = None
    """(C, H, W)"""
    classes: tuple[str, ...] | None = None
    """Their names, in the order of the outputs."""


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A weight file as it was read; whether it fits a network is yet to be seen."""

    path: Path
    model: str | None
    """Name of a model card, where the file says so."""
    weights: Weights
    origin: Origin = field(default_factory=Origin)

    def fitting(self, parameters: Sequence[Parameter]) -> Weights:
        """The weights, in the order of ``parameters``, for a network with exactly those.

        Raises:
            BenchError: names or shapes that are not this network's.
        """
        wanted = {parameter.name: parameter.shape for parameter in parameters}
        found = {name: array.shape for name, array in self.weights.items()}
        for name in sorted(wanted.keys() ^ found.keys()):
            raise BenchError(
                f"{self.path}: parameter {name} is {'missing' if name in wanted else 'unknown'}"
            )
        for name, shape in wanted.items():
            if found[name] != shape:
                raise BenchError(
                    f"{self.path}: {name} has shape {found[name]}, the network wants {shape}"
                )
        return {name: self.weights[name] for name in wanted}


def initial_weights(parameters: Sequence[Parameter], seed: int) -> Weights:
    """Draw the initial weights, float32, each from its own stream (seed, parameter name).

    * glorot_uniform: U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)
    * he_uniform: U(-a, a), a = sqrt(6 / fan_in) (He et al. 2015)
    * zeros, ones: as they say
    """
    return {parameter.name: _draw(parameter, seed) for parameter in parameters}


def _draw(parameter: Parameter, seed: int) -> NDArray[np.float32]:
    match parameter.initializer:
        case "zeros":
            return np.zeros(parameter.shape, np.float32)
        case "ones":
            return np.ones(parameter.shape, np.float32)
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


def save_weights(
    path: Path,
    weights: Mapping[str, NDArray[np.floating]],
    *,
    model: str,
    origin: Origin | None = None,
) -> None:
    """Write a weight file, whole or not at all.

    One dataset a parameter; attributes ``schema``, ``model`` and what is known of ``origin``.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full.
    """
    with new_hdf5(path, size=sum(array.nbytes for array in weights.values())) as file:
        file.attrs["schema"] = _SCHEMA
        file.attrs["model"] = model
        for key, value in vars(origin or Origin()).items():
            if key == "classes" and value is not None:
                file.attrs.create(key, list(value), dtype=h5py.string_dtype("utf-8"))
            elif value is not None:
                file.attrs[key] = value
        for name, array in weights.items():
            file.create_dataset(name, data=array)


def load_weights(path: Path, parameters: Sequence[Parameter]) -> Weights:
    """Read a weight file for a network with exactly ``parameters``.

    Raises:
        BenchError: not a weight file, or names or shapes that are not this network's.
    """
    return read_weights(path).fitting(parameters)


def read_weights(path: Path) -> WeightFile:
    """Read a weight file of whatever network.

    Raises:
        BenchError: not a weight file, or a damaged one.
    """
    try:
        check_regular(path)
        if (fault := examine(path).fault) is not None:
            raise BenchError(f"cannot read weights from {path}: {fault}")
        with h5py.File(path, "r", locking=False) as file:
            if _text(file.attrs.get("schema")) != _SCHEMA:
                raise BenchError(f"{path} is not a weight file of schema {_SCHEMA}")
            attributes = dict(file.attrs)
            weights = {name: _array(path, name, item) for name, item in file.items()}
    # HDF5 raises any of these on damage.
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise BenchError(f"cannot read weights from {path}: {reason}") from error
    try:
        origin, model = _origin(attributes), _optional_text(attributes.get("model"))
    except (TypeError, ValueError) as error:
        raise BenchError(f"{path}: damaged weight file: {error}") from error
    return WeightFile(path=path, model=model, weights=weights, origin=origin)


def _array(path: Path, name: str, item: Any) -> NDArray[np.floating]:
    if not isinstance(item, h5py.Dataset) or item.dtype not in (np.float32, np.float64):
        what = item.dtype if isinstance(item, h5py.Dataset) else "no array"
        raise BenchError(f"{path}: parameter {name} is {what}, expected float32 or float64")
    return np.asarray(item)


def _origin(attributes: Mapping[str, Any]) -> Origin:
    shape, classes, seed = (attributes.get(key) for key in ("image_shape", "classes", "seed"))
    if shape is not None and (np.shape(shape) != (3,) or np.asarray(shape).dtype.kind not in "iu"):
        raise ValueError(f"its image_shape is {shape}, expected three whole numbers (C, H, W)")
    if seed is not None and (np.shape(seed) != () or np.asarray(seed).dtype.kind not in "iu"):
        raise ValueError(f"its seed is {seed}, expected a whole number")
    return Origin(
        **{key: _optional_text(attributes.get(key)) for key in ("framework", "dataset", "task")},
        seed=None if seed is None else int(seed),
        image_shape=None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2])),
        classes=None if classes is None else tuple(_text(name) for name in np.ravel(classes)),
    )


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """A string attribute as whichever language wrote it: of fixed length it is read as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)

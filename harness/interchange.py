"""Weights that others trained: ``bench weights import``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import BenchError, unknown
from harness.models import find_model
from harness.models.torchvision import CANONICAL_NAME, is_counter
from harness.protocol.weights import WeightFile, save_weights

_SIDES = (224, 64)
"""Sides of images, one for each stem that a network may have."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was found in a file of somebody else's."""

    model: str
    arrays: int
    numbers: int
    channels: int
    outputs: int


def import_weights(source: Path, model: str, out: Path) -> Imported:
    """Write the state dict ``source`` of a network of torchvision as the weight file ``out``.

    A ``.safetensors`` file, or what ``torch.save`` writes; float32, of any number of channels and
    outputs.

    Raises:
        BenchError: a network that is not torchvision's, an unreadable file, or names and shapes
            that are not of that network; nothing is written then.
    """
    if model not in CANONICAL_NAME:
        find_model(model)
        raise unknown("model that torchvision has too", model, CANONICAL_NAME)
    weights = {
        CANONICAL_NAME[model](name): _float32(source, name, array)
        for name, array in _read(source).items()
        if not is_counter(name)
    }
    card = find_model(model)
    stem, head = (weights.get(f"{layer}.weight") for layer in (card.stem, card.head))
    if stem is None or head is None or stem.ndim != 4 or head.ndim != 2:
        raise BenchError(
            f"{source} is no state dict of {card.title}: it has no {card.stem}.weight and "
            f"{card.head}.weight of a convolution and a dense layer"
        )
    channels, outputs = stem.shape[1], head.shape[0]
    file = WeightFile(path=source, model=model, weights=weights)
    error: BenchError | None = None
    for side in _SIDES:
        try:
            fitting = file.fitting(card.parameters((channels, side, side), outputs))
        except BenchError as found:
            error = error or found
            continue
        save_weights(out, fitting, model=model)
        return Imported(
            model=model,
            arrays=len(fitting),
            numbers=sum(array.size for array in fitting.values()),
            channels=channels,
            outputs=outputs,
        )
    assert error is not None
    raise error


def _read(source: Path) -> Mapping[str, NDArray[np.generic]]:
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    if util.find_spec("torch") is None:
        raise BenchError(
            f"only PyTorch reads {source}: pip install 'pipeline-bench[torch]', or save the "
            "weights as safetensors"
        )
    checkpoint = importlib.import_module("harness.backends.torch.checkpoint")
    tensors: Mapping[str, NDArray[np.generic]] = checkpoint.read_checkpoint(source)
    return tensors


def _read_safetensors(source: Path) -> Mapping[str, NDArray[np.generic]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(source)
    except OSError as error:
        raise BenchError(f"cannot read weights from {source}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"cannot read weights from {source}: {reason}") from error


def _float32(source: Path, name: str, array: NDArray[np.generic]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise BenchError(f"{source}: {name} is {array.dtype}, expected floating-point numbers")
    if not np.isfinite(array).all():
        raise BenchError(f"{source}: {name} has numbers that are not finite")
    return np.asarray(array, np.float32)

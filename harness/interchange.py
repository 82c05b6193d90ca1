"""Weights that others trained: ``bench weights import``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.npz_archive import read_arrays
from harness.errors import BenchError, unknown
from harness.files import check_regular, first_line
from harness.models.torchvision_names import CANONICAL_NAME, is_counter
from harness.plugins import find_model
from harness.processes import thread_settings
from harness.protocol.weights import WeightFile, Weights, save_weights

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_START_S = 120.0
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
    weights: Weights = {}
    names: dict[str, str] = {}
    for name, array in _read(source).items():
        if is_counter(name):
            continue
        ours = CANONICAL_NAME[model](name)
        if ours in weights:
            raise BenchError(
                f"{source}: {names[ours]} and {name} are both {ours} of {model}: save the state "
                "dict of one network"
            )
        weights[ours], names[ours] = _float32(source, name, array), name
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
    try:
        length = check_regular(source).st_size
    except OSError as error:
        raise BenchError(f"cannot read weights from {source}: {error.strerror}") from error
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    if util.find_spec("torch") is None:
        raise BenchError(
            f"only PyTorch reads {source}: pip install 'pipeline-bench[torch]', or save the "
            "weights as safetensors"
        )
    return _read_checkpoint(source, limit_s=_START_S * (1 + length / 1e9))


def _read_checkpoint(source: Path, limit_s: float) -> Mapping[str, NDArray[np.generic]]:
    """What ``harness.backends.torch.checkpoint`` finds, in a process that it may crash."""
    with tempfile.TemporaryDirectory(prefix="bench-weights-") as folder:
        out = Path(folder) / "arrays.npz"
        words = [sys.executable, "-P", "-m", "harness.backends.torch.checkpoint"]
        try:
            done = subprocess.run(
                [*words, str(source), str(out)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=limit_s,
                env={**os.environ, **thread_settings(1)},
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"{source}: reading it does not end (stopped after {limit_s:.3g} s)"
            ) from None
        if done.returncode == 3:
            raise BenchError(" ".join(done.stdout.split()))
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BenchError(
                f"{source}: PyTorch cannot read it (exit code {done.returncode}: {reason})"
            )
        arrays = read_arrays(out)
    return {str(name): arrays[f"a{place}"] for place, name in enumerate(arrays["names"].tolist())}


def _read_safetensors(source: Path) -> Mapping[str, NDArray[np.generic]]:
    import safetensors

    try:
        found = safetensors.deserialize(source.read_bytes())  # type: ignore[no-untyped-call]
        return {name: _tensor(source, name, tensor) for name, tensor in found}
    except OSError as error:
        raise BenchError(f"cannot read weights from {source}: {error.strerror or error}") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BenchError(f"cannot read weights from {source}: {first_line(error)}") from error


def _tensor(source: Path, name: str, tensor: Mapping[str, Any]) -> NDArray[np.generic]:
    """One tensor, little-endian; NumPy has no bfloat16: it is the upper half of a float32."""
    kind, shape = tensor["dtype"], tensor["shape"]
    if kind == "BF16":
        upper = np.frombuffer(tensor["data"], "<u2").astype("<u4")
        return (upper << 16).view("<f4").reshape(shape)
    if kind not in _DTYPES:
        raise BenchError(f"{source}: {name} is {kind}, expected float32")
    return np.frombuffer(tensor["data"], _DTYPES[kind]).reshape(shape)


def _float32(source: Path, name: str, array: NDArray[np.generic]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise BenchError(f"{source}: {name} is {array.dtype}, expected floating-point numbers")
    if not np.isfinite(array).all():
        raise BenchError(f"{source}: {name} has numbers that are not finite")
    return np.asarray(array, np.float32)

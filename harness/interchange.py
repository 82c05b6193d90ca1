"""Weights that others trained, in files of other programs: ``bench weights import``.

A ``.safetensors`` file is read here. Other suffixes are those of the backends
(:attr:`harness.backends.spec.BackendSpec.weight_readers`), whose readers run in a process of their
own, with limits of time and memory: ``python -m harness.interchange MODULE:FUNCTION FILE OUT``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.npz_archive import read_arrays
from harness.errors import BenchError, unknown
from harness.files import check_regular, first_line
from harness.models.card import ModelCard
from harness.paths import harness_path
from harness.plugins import backends, find_model, models
from harness.processes import thread_settings
from harness.protocol.weights import WeightFile, Weights, save_weights

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_START_S = 120.0
_SPARE_BYTES = 2**30
"""Memory that a reader may take beyond its imports and a few times the length of the file."""
_REFUSED = 3
"""Exit code of a reader that says on stdout, in one line, what is wrong with the file."""
_WRAPPERS = "module|_orig_mod|model|backbone|net|network|encoder|features"
"""What training programs put before the names of a network that they hold."""
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
    """Write the weights ``source`` of somebody else's network as the weight file ``out``.

    ``source`` holds floating-point numbers by name, of any number of channels and outputs; the
    card of ``model`` says how others call its parameters. What is written is float32.

    Raises:
        BenchError: a network whose names elsewhere are not known, an unreadable file, or names and
            shapes that are not of that network; nothing is written then.
    """
    card = find_model(model)
    weights: Weights = {}
    names: dict[str, str] = {}
    for name, array in _read(source, card).items():
        ours = _canonical_name(card, name)
        if ours is None:
            continue
        if ours in weights:
            raise BenchError(
                f"{source}: {names[ours]} and {name} are both {ours} of {model}: save the state "
                "dict of one network"
            )
        weights[ours], names[ours] = _float32(source, name, array), name
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


def importable_models() -> list[str]:
    """The models whose weights can be imported."""
    return [name for name, card in models().items() if card.imported_name is not None]


def _canonical_name(card: ModelCard, name: str) -> str | None:
    """The card's name of a parameter; None where it is no parameter of ours."""
    if card.imported_name is None:
        raise unknown("model that others have too", card.name, importable_models())
    return card.imported_name(re.sub(rf"^((?:{_WRAPPERS}|{re.escape(card.name)})\.)+", "", name))


def _read(source: Path, card: ModelCard) -> Mapping[str, NDArray[np.generic]]:
    _canonical_name(card, "")
    try:
        length = check_regular(source).st_size
    except OSError as error:
        raise BenchError(f"cannot read weights from {source}: {error.strerror}") from error
    if source.suffix == ".safetensors":
        return _read_safetensors(source)
    readers = [
        (spec, spec.weight_readers[source.suffix])
        for spec in backends().values()
        if source.suffix in spec.weight_readers
    ]
    if not readers:
        known = {suffix for spec in backends().values() for suffix in spec.weight_readers}
        raise BenchError(
            f"{source}: weights are read from {', '.join(sorted({'.safetensors', *known}))}; "
            "rename the file, or save its weights as safetensors"
        )
    spec, reader = readers[0]
    if requirement := spec.missing_requirement():
        raise BenchError(
            f"only {spec.title} reads {source}: {requirement}, or save the weights as safetensors"
        )
    return _read_apart(source, reader, spec.title, limit_s=_START_S * (1 + length / 1e9))


def _read_apart(
    source: Path, reader: str, title: str, limit_s: float
) -> Mapping[str, NDArray[np.generic]]:
    """What the function ``reader`` of a backend finds, in a process that it may crash."""
    with tempfile.TemporaryDirectory(prefix="bench-weights-") as folder:
        out = Path(folder) / "arrays.npz"
        words = [sys.executable, "-P", "-m", "harness.interchange", reader]
        try:
            done = subprocess.run(
                [*words, str(source), str(out)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=limit_s,
                env={**os.environ, "PYTHONPATH": harness_path(), **thread_settings(1)},
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"{source}: reading it does not end (stopped after {limit_s:.3g} s)"
            ) from None
        if done.returncode == _REFUSED:
            raise BenchError(" ".join(done.stdout.split()))
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BenchError(
                f"{source}: {title} cannot read it (exit code {done.returncode}: {reason})"
            )
        arrays = read_arrays(out)
    return {str(name): arrays[f"a{place}"] for place, name in enumerate(arrays["names"].tolist())}


def _limit_memory(source: Path) -> None:
    """To what this process has now, and a few times the length of the file."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = taken * os.sysconf("SC_PAGE_SIZE") + 4 * source.stat().st_size + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _read_here(reader: str, source: Path, out: Path) -> None:
    module, _, function = reader.partition(":")
    read = getattr(importlib.import_module(module), function)
    _limit_memory(source)
    try:
        arrays = read(source)
    except BenchError as error:
        print(error)
        raise SystemExit(_REFUSED) from None
    names = np.array([name.encode("utf-8", "backslashreplace").decode() for name in arrays])
    numbered: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays.values())}
    np.savez(out, names=names, **numbered)


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


if __name__ == "__main__":
    _read_here(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

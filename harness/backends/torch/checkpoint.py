"""State dicts as ``torch.save`` writes them.

Called by :mod:`harness.interchange` in a process of its own, because a file may declare far more
than it holds, or crash the reader.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import BenchError
from harness.files import check_regular, first_line

NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module")
"""Keys under which training scripts keep the state dict."""
_SPARE_BYTES = 2**30
_TOO_MUCH = "reading it takes far more memory than it has bytes"


def read_checkpoint(path: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a state dict, or of one kept under one of ``NESTED``.

    Only tensors and plain containers are unpickled: a file that wants to run code is refused.
    bfloat16 and half precision become float32.

    Raises:
        BenchError: no such file, not one of these, or a tensor that is not plain numbers.
    """
    torch.set_num_threads(1)
    try:
        length = check_regular(path).st_size
        _check_archive(path, length)
        with warnings.catch_warnings():  # of old forms of pickle: what counts is whether it reads
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BenchError(f"cannot read weights from {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise BenchError(f"{path}: {_TOO_MUCH}") from error
    except BenchError:
        raise
    except Exception as error:  # the unpickler raises whatever a damaged stream leads it to
        if "alloc" in str(error).lower():
            raise BenchError(f"{path}: {_TOO_MUCH}") from error
        if _is_archive(path) and not isinstance(error, pickle.UnpicklingError):
            raise BenchError(f"{path}: damaged archive ({first_line(error)[:200]})") from error
        raise BenchError(
            f"{path} is no state dict that can be read without running the code in it: save "
            "`model.state_dict()` with torch.save, or as safetensors"
        ) from error
    tensors = _tensors(found)
    if not tensors:
        raise BenchError(f"{path} holds no state dict: save `model.state_dict()` with torch.save")
    arrays = {name: _array(path, name, value) for name, value in tensors.items()}
    if sum(array.nbytes for array in arrays.values()) > 4 * length + _SPARE_BYTES // 64:
        raise BenchError(f"{path}: {_TOO_MUCH}")  # many names of the same numbers
    return arrays


def _tensors(found: Any) -> dict[str, torch.Tensor]:
    for key in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    items = found.items() if isinstance(found, Mapping) else ()
    return {str(name): value for name, value in items if isinstance(value, torch.Tensor)}


def _is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def _check_archive(path: Path, length: int) -> None:
    """An archive holds its tensors as they are: packed ones are somebody's bomb."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > length or any(
        member.compress_type != zipfile.ZIP_STORED for member in members
    ):
        raise BenchError(f"{path}: a packed archive, which torch.save does not write")


def _array(path: Path, name: str, tensor: torch.Tensor) -> NDArray[np.generic]:
    tensor = tensor.detach()
    what = None
    if tensor.layout != torch.strided:
        what = "sparse: save it with .to_dense()"
    elif tensor.is_quantized:
        what = "quantised: save it with .dequantize()"
    elif tensor.device.type == "meta":
        what = "without values (on the device 'meta'): save it from a network that has some"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        what = f"{tuple(tensor.shape)} expanded from fewer numbers: save it with .contiguous()"
    if what is not None:
        raise BenchError(f"{path}: {name} is {what}")
    tensor = tensor.resolve_conj().resolve_neg()
    plain = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    try:
        return plain.numpy()
    except TypeError:  # a type that NumPy does not have, as float8
        raise BenchError(f"{path}: {name} is {tensor.dtype}, expected float32") from None

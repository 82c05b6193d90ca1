"""State dicts as ``torch.save`` writes them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import BenchError


def read_checkpoint(path: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a state dict, or of one kept under ``state_dict`` or ``model``.

    Only tensors and plain containers are unpickled: a file that wants to run code is refused.

    Raises:
        BenchError: no such file, or not one of these.
    """
    try:
        with warnings.catch_warnings():  # of old forms of pickle: what counts is whether it reads
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BenchError(f"cannot read weights from {path}: {error.strerror or error}") from error
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise BenchError(
            f"{path} is no state dict that can be read without running the code in it: save "
            "`model.state_dict()` with torch.save, or as safetensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = {
        str(name): value
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise BenchError(f"{path} holds no state dict: save `model.state_dict()` with torch.save")
    return {
        name: (value.float() if value.is_floating_point() else value).numpy()
        for name, value in tensors.items()
    }

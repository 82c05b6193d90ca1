"""The checkpoint of a cell: what a later invocation needs to go on with its training.

One HDF5 file, replaced as a whole: attribute ``schema``; ``progress``, a :class:`Progress` as JSON;
``step_losses``; one array a parameter in the groups ``weights`` and ``optimizer/SLOT``, in
canonical layout (see ``harness.protocol``). Batches, learning rates and augmentation of an epoch
follow from the seed and its number, so no random state is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.errors import BenchError
from harness.files import check_regular, first_line, new_hdf5
from harness.plan import Cell
from harness.protocol.optimizer import OptimizerState
from harness.protocol.weights import Weights
from harness.results.records import AtLeastOne, Count, Epoch, Record
from harness.untrusted import examine

_SCHEMA = "checkpoint/1"


class Progress(Record):
    """How far a training has come."""

    schema_version: Literal[1] = 1
    cell: Cell
    started: str
    """ISO 8601, UTC; of the first start."""
    sessions: dict[str, AtLeastOne]
    """In which sessions the epochs were trained, in order, and how many in each."""
    epochs: Annotated[tuple[Epoch, ...], Field(min_length=1)]
    optimizer_steps: Count


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training after an epoch."""

    progress: Progress
    step_losses: NDArray[np.float64]
    """(epochs * steps,)"""
    weights: Weights
    """Running statistics included, in the precision of the training."""
    optimizer: OptimizerState


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file, whole or not at all.

    Raises:
        BenchError: the folder cannot be written to, or the disk is full.
    """
    groups = {"weights": checkpoint.weights} | {
        f"optimizer/{slot}": arrays for slot, arrays in checkpoint.optimizer.slots.items()
    }
    text = checkpoint.progress.model_dump_json()
    size = checkpoint.step_losses.nbytes + len(text)
    size += sum(array.nbytes for arrays in groups.values() for array in arrays.values())
    with new_hdf5(path, size) as file:
        file.attrs["schema"] = _SCHEMA
        file["progress"] = np.frombuffer(text.encode(), np.uint8)
        file["step_losses"] = checkpoint.step_losses
        for group, arrays in groups.items():
            for name, array in arrays.items():
                file[f"{group}/{name}"] = array


def read_checkpoint(path: Path, cell: Cell) -> Checkpoint:
    """Read the checkpoint of ``cell``.

    Raises:
        BenchError: the file is damaged, or of another cell.
    """
    try:
        check_regular(path)
        if (fault := examine(path).fault) is not None:
            raise ValueError(fault)
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("schema") != _SCHEMA:
                raise ValueError(f"it has no schema {_SCHEMA}")
            progress = Progress.model_validate_json(np.asarray(file["progress"]).tobytes())
            losses = np.asarray(file["step_losses"], np.float64)
            weights = _arrays(file["weights"])
            slots = {name: _arrays(group) for name, group in file["optimizer"].items()}
        if progress.cell != cell:
            raise ValueError(f"it is of cell {progress.cell.id!r:.200}")
        if sum(progress.sessions.values()) != len(progress.epochs):
            raise ValueError("its sessions do not have as many epochs as it says")
    # HDF5 raises any of these on damage.
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(
            f"{path}: cannot read this checkpoint ({first_line(error)[:300]}); delete it to train "
            "the cell from its beginning"
        ) from error
    return Checkpoint(
        progress=progress,
        step_losses=losses,
        weights=weights,
        optimizer=OptimizerState(slots, progress.optimizer_steps),
    )


def _arrays(group: Any) -> Weights:
    arrays = {name: np.asarray(item) for name, item in group.items()}
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name} is {array.dtype}, expected float32 or float64")
    return arrays

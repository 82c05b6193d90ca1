"""The folder of one run: created once, written atomically, resumed or refused, read back."""

from __future__ import annotations

import fcntl
import json
import math
import os
import weakref
from pathlib import Path
from typing import Any, Literal, Self

import h5py
import numpy as np
import pydantic

from harness.config import Experiment, TimeLimits
from harness.errors import BenchError
from harness.files import first_line, new_hdf5
from harness.files import write_atomically as write_atomically
from harness.plan import Cell
from harness.results.records import CellResult, MachinePeak, Record
from harness.untrusted import examine


class DatasetEntry(Record):
    """A data set as the run used it."""

    path: str
    sha256: str
    """Of the HDF5 file."""
    train: int
    val: int
    test: int
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    task: Literal["multiclass", "multilabel"]
    source: str
    """The file's own ``source`` attribute (JSON)."""
    split: str
    license: str


class Manifest(Record):
    """What the run set out to do."""

    schema_version: Literal[1] = 1
    harness_version: str
    created: str
    command: str
    """What to type to make it again."""
    experiment: Experiment
    """With the frameworks that really run, in order."""
    skipped: dict[str, str] = pydantic.Field(default_factory=dict)
    """Frameworks asked for but left out, and why."""
    datasets: dict[str, DatasetEntry]
    data_warnings: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    """What `bench data validate` warned of, by data set."""
    initial_weights_sha256: str | None = None
    """Of the weight file that training starts from, where there is one."""
    cells: tuple[Cell, ...]
    """In the order in which they were planned."""


class CellArrays(Record):
    """The arrays of one cell (``cells/ID.h5``)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    step_losses: np.ndarray
    """float64 (epochs * steps,)"""
    test_logits: np.ndarray
    """float32 or float64 (examples, classes)"""
    test_labels: np.ndarray
    """uint8 (examples,), or for multi-label tasks (examples, classes)"""
    test_groups: np.ndarray | None = None
    """int64 (examples,): which images are of one patient, where the data set says so."""
    example_rows: np.ndarray | None = None
    """int64 (n,): test images that the report shows; of the run's first seed only."""
    example_outputs: np.ndarray | None = None
    """int64 (n,): what each is shown for; see ``harness.measure.examples``."""
    example_images: np.ndarray | None = None
    """uint8 (n, C, H, W)"""
    example_maps: np.ndarray | None = None
    """float32 or float64 (n, h, w): Grad-CAM of those images for those outputs."""


def _compared(part: object) -> object:
    """What must be the same to resume: of an experiment everything but its time limits."""
    if isinstance(part, Experiment):
        return part.model_copy(update={"timeout": TimeLimits()})
    return part


def _judged(result: CellResult) -> CellResult:
    """``result``, with the status that earlier versions did not give to diverged trainings."""
    losses = [loss for epoch in result.epochs for loss in (epoch.loss, epoch.val_loss)]
    losses += [result.test.loss] if result.test is not None else []
    if result.status != "ok" or all(map(math.isfinite, losses)):
        return result
    return result.model_copy(update={"status": "diverged", "error": "a loss is not finite"})


class RunFolder:
    """One run on disk. Use :meth:`create`, :meth:`resume` or :meth:`open`."""

    def __init__(self, path: Path, manifest: Manifest, environment: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.environment = environment
        self._unlock: weakref.finalize[..., RunFolder] | None = None

    def lock(self) -> None:
        """Keep other processes from running cells in this folder, until :meth:`unlock` or the end.

        Raises:
            BenchError: another one does.
        """
        path = self.path / ".lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise BenchError(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 20).decode(errors="replace")
            os.close(lock)
            raise BenchError(
                f"{self.path} is in use by process {owner}: wait for it to end, or end it"
            ) from None
        except OSError:
            pass  # a file system without locks
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._unlock = weakref.finalize(self, os.close, lock)

    def unlock(self) -> None:
        """Let other processes run cells in this folder."""
        if self._unlock is not None:
            self._unlock()

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Refuse a folder that holds anything, before any work is done.

        Raises:
            BenchError: says how to resume the run that is there, or to choose another folder.
        """
        try:
            names = [entry.name for entry in path.iterdir()]
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise BenchError(f"{path} is a file: choose a folder with --out") from None
        except OSError as error:
            raise BenchError(f"cannot read the folder {path}: {error.strerror}") from error
        if "experiment.json" in names:
            raise BenchError(
                f"{path} already holds a run: continue it with --resume, "
                "or choose another folder with --out"
            )
        if names:
            raise BenchError(f"{path} is not empty and holds no run: choose another with --out")

    @classmethod
    def create(cls, path: Path, manifest: Manifest, environment: dict[str, Any]) -> Self:
        cls.check_free(path)
        try:
            (path / "cells").mkdir(parents=True)
            (path / "logs").mkdir()
        except OSError as error:
            raise BenchError(f"cannot write to {path}: {error.strerror}") from error
        write_atomically(path / "environment.json", json.dumps(environment, indent=2) + "\n")
        # Last, because its presence is what makes the folder a run.
        write_atomically(path / "experiment.json", manifest.model_dump_json(indent=2) + "\n")
        return cls(path, manifest, environment)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a run.

        Raises:
            BenchError: no run there, or its files are damaged.
        """
        if not (path / "experiment.json").is_file():
            raise BenchError(f"{path} holds no run (no experiment.json): name the folder of a run")
        try:
            manifest = Manifest.model_validate_json((path / "experiment.json").read_bytes())
            environment = json.loads((path / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise BenchError(f"{path}: cannot read the run's description: {first}") from error
        return cls(path, manifest, environment)

    @classmethod
    def resume(cls, path: Path, manifest: Manifest) -> Self:
        """Open the run at ``path`` to go on with ``manifest``.

        Raises:
            BenchError: the run there is of another experiment or other data.
        """
        folder = cls.open(path)
        parts = {
            "experiment": "experiment",
            "datasets": "dataset",
            "initial_weights_sha256": "file of initial weights",
            "cells": "cell",
        }
        for part, what in parts.items():
            there, here = (_compared(getattr(each, part)) for each in (folder.manifest, manifest))
            if there != here:
                raise BenchError(
                    f"{path} holds a run with another {what}: "
                    "resume with the options it was started with, or choose another --out"
                )
        experiment = folder.manifest.experiment.model_copy(
            update={"timeout": manifest.experiment.timeout}
        )
        folder.manifest = folder.manifest.model_copy(update={"experiment": experiment})
        return folder

    @property
    def machine(self) -> MachinePeak | None:
        """What the machine can do at most; None in a run that has not measured it.

        Raises:
            BenchError: the file is damaged.
        """
        path = self.path / "machine.json"
        if not path.is_file():
            return None
        try:
            return MachinePeak.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise BenchError(f"{path}: cannot read what the machine can do ({first})") from error

    def write_machine(self, peak: MachinePeak) -> None:
        write_atomically(self.path / "machine.json", peak.model_dump_json(indent=2) + "\n")

    def write_result(self, result: CellResult) -> None:
        write_atomically(self._file(result.cell, ".json"), result.model_dump_json(indent=2) + "\n")

    def write_arrays(self, cell: Cell, arrays: CellArrays) -> None:
        named = {name: getattr(arrays, name) for name in type(arrays).model_fields}
        kept = {name: array for name, array in named.items() if array is not None}
        size = sum(array.nbytes for array in kept.values())
        with new_hdf5(self._file(cell, ".h5"), size) as file:
            for name, array in kept.items():
                file.create_dataset(name, data=array)

    def read_result(self, cell: Cell) -> CellResult | None:
        """The cell's result, or None while it has none.

        Raises:
            BenchError: the file is damaged.
        """
        path = self._file(cell, ".json")
        if not path.is_file():
            return None
        try:
            return _judged(CellResult.model_validate_json(path.read_bytes()))
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise BenchError(
                f"{path}: cannot read this result ({first}); delete it and run --resume"
            ) from error

    def read_arrays(self, cell: Cell) -> CellArrays | None:
        """The cell's arrays, or None when it has none (it failed, or is yet to run).

        Raises:
            BenchError: the file is damaged.
        """
        path = self._file(cell, ".h5")
        if not path.is_file():
            return None
        try:
            if (fault := examine(path).fault) is not None:
                raise BenchError(f"{path}: cannot read these predictions ({fault})")
            with h5py.File(path, "r", locking=False) as file:
                names = [n for n, f in CellArrays.model_fields.items() if f.is_required()]
                optional = [n for n in CellArrays.model_fields if n not in names and n in file]
                return CellArrays(**{name: file[name][...] for name in [*names, *optional]})
        # HDF5 raises any of these on damage.
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = first_line(error)
            raise BenchError(f"{path}: cannot read these predictions ({reason})") from error

    def results(self) -> list[CellResult]:
        """Results there are, in the order of the plan."""
        return [
            result for cell in self.manifest.cells if (result := self.read_result(cell)) is not None
        ]

    def weights_path(self, cell: Cell) -> Path:
        """Where the trained weights of ``cell`` are kept."""
        return self._file(cell, ".weights.h5")

    def log_path(self, cell: Cell) -> Path:
        """Where what the cell's worker printed is kept."""
        return self.path / "logs" / f"{cell.id}.log"

    def _file(self, cell: Cell, suffix: str) -> Path:
        folder = self.path / "cells"
        names = [f"{name}{suffix}" for name in (cell.id, *cell.former_ids)]
        kept = (folder / name for name in names if (folder / name).exists())
        return next(kept, folder / names[0])

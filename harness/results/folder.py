"""The folder of one run: created once, written atomically, resumed or refused, read back."""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import re
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h5py
import numpy as np
import pydantic

from harness.config import Experiment
from harness.errors import BenchError
from harness.files import check_regular, first_line, new_hdf5, read_bytes, remove_partial
from harness.files import write_atomically as write_atomically
from harness.measure.environment import differences
from harness.plan import Cell, Shard, groups_of
from harness.results.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from harness.results.records import AtLeastOne, CellResult, MachinePeak, Record
from harness.stats.tasks import Task
from harness.untrusted import examine

_MAX_JSON_BYTES = 2**28
_TAIL_BYTES = 2**16
"""Of a log, of which the last lines are read."""
_FOLDERS = {"cells", "logs"}
_LOCK = ".lock"
_BEGUN = {*_FOLDERS, _LOCK, "environment.json"}
"""Names in the folder of a run that is being created."""
_FILE_NAME = re.compile(r"[^/\0]{1,200}")


class DatasetEntry(Record):
    """A data set as the run used it."""

    path: str
    sha256: str
    """Of the HDF5 file."""
    train: AtLeastOne
    val: AtLeastOne
    test: AtLeastOne
    image_shape: tuple[AtLeastOne, AtLeastOne, AtLeastOne]
    classes: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    task: Task
    source: str
    """The file's own ``source`` attribute (JSON)."""
    split: str
    license: str
    content_sha256: str | None = None
    """Of images, labels, groups and classes, wherever they came from; None in earlier runs."""

    def same_content(self, other: DatasetEntry) -> bool:
        """Whether a training sees the same in both."""
        if self.sha256 == other.sha256:
            return True
        return self.content_sha256 is not None and self.content_sha256 == other.content_sha256


class Manifest(Record):
    """What the run set out to do."""

    schema_version: Literal[1] = 1
    harness_version: str
    created: str
    command: str
    """What to type to reproduce it."""
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
    """In the order in which they were planned: of the whole experiment, whatever ``shard`` is."""
    shard: Shard | None = None
    """The part of ``cells`` that this run trains; None: all of them."""

    @property
    def own_cells(self) -> tuple[Cell, ...]:
        """The cells that this run trains."""
        if self.shard is None:
            return self.cells
        return tuple(cell for group in self.shard.of(groups_of(self.cells)) for cell in group)

    @pydantic.model_validator(mode="after")
    def _cells_have_files_of_their_own(self) -> Self:
        for cell in self.cells:
            if cell.dataset not in self.datasets:
                raise ValueError(f"cell {cell.id!r:.200} is of a data set that is not described")
            if not _FILE_NAME.fullmatch(cell.id):
                raise ValueError(f"cell {cell.id!r:.200} cannot name files")
        if len({cell.id for cell in self.cells}) < len(self.cells):
            raise ValueError("two cells share their files")
        return self


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
    """What must be the same to resume: of an experiment everything but ``RESUMED_WITH``."""
    if isinstance(part, Experiment):
        usual = {name: Experiment.model_fields[name].default for name in RESUMED_WITH}
        return part.model_copy(update=usual)
    if isinstance(part, dict):  # of data sets; runs of earlier versions have no digest of content
        return {
            name: entry.model_copy(update={"content_sha256": None}) for name, entry in part.items()
        }
    return part


def _judged(result: CellResult) -> CellResult:
    """``result``, with the status that earlier versions did not give to diverged trainings."""
    losses = [loss for epoch in result.epochs for loss in (epoch.loss, epoch.val_loss)]
    losses += [result.test.loss] if result.test is not None else []
    if result.status != "ok" or all(map(math.isfinite, losses)):
        return result
    return result.model_copy(update={"status": "diverged", "error": "a loss is not finite"})


RESUMED_WITH = ("timeout", "checkpoint_seconds")
"""Settings that may be others when a run is resumed: they change no result."""


class RunFolder:
    """One run on disk. Use :meth:`create`, :meth:`resume` or :meth:`open`."""

    def __init__(self, path: Path, manifest: Manifest, environment: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.environment = environment
        self._unlock: weakref.finalize[..., RunFolder] | None = None
        self._invocation = ""
        self._sessions = itertools.count(1)

    def lock(self) -> None:
        """Keep other processes from running cells in this folder, until :meth:`unlock` or the end.

        Raises:
            BenchError: another one does.
        """
        path = self.path / _LOCK
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
        remove_partial(self.path)  # nobody else is writing here now
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._unlock = weakref.finalize(self, os.close, lock)

    def unlock(self) -> None:
        """Let other processes run cells in this folder."""
        if self._unlock is not None:
            self._unlock()

    @property
    def environments(self) -> dict[str, dict[str, Any]]:
        """Machine, versions and variables of every invocation that worked on this run, by its name.

        :attr:`environment` is that of the first. Empty in runs from before it was recorded.

        Raises:
            BenchError: the file is damaged.
        """
        path = self.path / "environments.json"
        try:
            recorded = json.loads(_read(path))
            if not isinstance(recorded, dict) or not all(
                isinstance(each, dict) for each in recorded.values()
            ):
                raise ValueError("expected one environment for each invocation")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise BenchError(f"{path}: cannot read the run's environments: {error}") from error
        return recorded

    def begin(self, name: str, environment: dict[str, Any]) -> None:
        """Record the invocation ``name`` that is about to work on this run."""
        recorded = self.environments | {name: environment}
        write_atomically(self.path / "environments.json", json.dumps(recorded, indent=2) + "\n")
        self._invocation = name

    def begin_elsewhere(self, name: str, environment: dict[str, Any]) -> None:
        """Record an invocation on another machine, whose results are brought here.

        Until there is a result, it becomes the environment of the run.
        """
        recorded = self.environments | {name: environment}
        write_atomically(self.path / "environments.json", json.dumps(recorded, indent=2) + "\n")
        if not self.results():
            text = json.dumps(environment, indent=2) + "\n"
            write_atomically(self.path / "environment.json", text)
            self.environment = environment

    def new_session(self) -> str:
        """A name for worker processes that are started together; unique within the run."""
        return f"{self._invocation}/{next(self._sessions)}"

    def environment_changes(self, results: Iterable[CellResult] | None = None) -> list[str]:
        """What later invocations that have left results had otherwise than the first of these.

        ``results`` if they were read already.
        """
        recorded = self.environments
        known = self.results() if results is None else results
        sessions = (name for result in known for name in result.sessions)
        used = dict.fromkeys(name.partition("/")[0] for name in sessions)
        first, *later = [recorded[name] for name in recorded if name in used] or [{}]
        return list(dict.fromkeys(found for other in later for found in differences(first, other)))

    @property
    def on_another_cpu(self) -> bool:
        """Whether this invocation resumes a run that was started on other processors."""
        here = self.environments.get(self._invocation, self.environment)
        return bool(here.get("cpu") != self.environment.get("cpu"))

    def changes_since_start(self) -> list[str]:
        """What this invocation has otherwise than the run's first."""
        return differences(self.environment, self.environments.get(self._invocation, {}))

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Refuse a folder that holds anything, before any work is done.

        What a process leaves that is killed in :meth:`create` is nothing.

        Raises:
            BenchError: says how to resume the run that is there, or to choose another folder.
        """
        try:
            names = {entry.name for entry in path.iterdir()}
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
        others = {name for name in names - _BEGUN if not name.endswith(".partial")}
        if others or any(any((path / name).rglob("*")) for name in _FOLDERS):
            raise BenchError(f"{path} is not empty and holds no run: choose another with --out")

    @classmethod
    def create(cls, path: Path, manifest: Manifest, environment: dict[str, Any]) -> Self:
        cls.check_free(path)
        folder = cls(path, manifest, environment)
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder.lock()
            cls.check_free(path)  # another process may have been faster
            for name in _FOLDERS:
                (path / name).mkdir(exist_ok=True)
            write_atomically(path / "environment.json", json.dumps(environment, indent=2) + "\n")
            # Last, because its presence is what makes the folder a run.
            write_atomically(path / "experiment.json", manifest.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise BenchError(f"cannot write to {path}: {error.strerror}") from error
        finally:
            folder.unlock()
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a run.

        Raises:
            BenchError: no run there, or its files are damaged.
        """
        if not (path / "experiment.json").is_file():
            raise BenchError(f"{path} holds no run (no experiment.json): name the folder of a run")
        try:
            manifest = Manifest.model_validate_json(_read(path / "experiment.json"))
            environment = json.loads(_read(path / "environment.json"))
            if not isinstance(environment, dict):
                raise ValueError("environment.json holds no JSON object")
            if not isinstance(environment.get("versions", {}), dict):
                raise ValueError("versions in environment.json are no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            raise BenchError(f"{path}: cannot read the run's description: {why(error)}") from error
        return cls(path, manifest, environment)

    @classmethod
    def resume(cls, path: Path, manifest: Manifest) -> Self:
        """Open the run at ``path`` to resume it with ``manifest``.

        Raises:
            BenchError: the run there is of another experiment or other data.
        """
        folder = cls.open(path)
        parts = {
            "experiment": "experiment",
            "datasets": "dataset",
            "initial_weights_sha256": "file of initial weights",
            "cells": "cell",
            "shard": "shard",
        }
        for part, what in parts.items():
            there, here = (_compared(getattr(each, part)) for each in (folder.manifest, manifest))
            if there != here:
                raise BenchError(
                    f"{path} holds a run with another {what}: "
                    "resume with the options it was started with, or choose another --out"
                )
        given = {name: getattr(manifest.experiment, name) for name in RESUMED_WITH}
        experiment = folder.manifest.experiment.model_copy(update=given)
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
            return MachinePeak.model_validate_json(_read(path))
        except (OSError, ValueError) as error:
            reason = why(error)
            raise BenchError(f"{path}: cannot read what the machine can do ({reason})") from error

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
            result = CellResult.model_validate_json(_read(path))
            if result.cell != cell:
                raise ValueError(f"it is of cell {result.cell.id!r:.200}")
            tested = self.manifest.datasets[cell.dataset].test
            if result.test is not None and result.test.examples != tested:
                raise ValueError(f"{result.test.examples} test images, the data set has {tested}")
        except (OSError, ValueError) as error:
            raise BenchError(
                f"{path}: cannot read this result ({why(error)}); delete it and run --resume"
            ) from error
        return _judged(result)

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
                arrays = CellArrays(**{name: file[name][...] for name in [*names, *optional]})
        # HDF5 raises any of these on damage.
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = first_line(error)
            raise BenchError(f"{path}: cannot read these predictions ({reason})") from error
        if (fault := _arrays_fault(arrays, self.manifest.datasets[cell.dataset])) is not None:
            raise BenchError(f"{path}: cannot read these predictions ({fault})")
        return arrays

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        progress = checkpoint.progress
        write_checkpoint(self._checkpoint_path(progress.cell, len(progress.epochs)), checkpoint)

    def checkpoints(self, cell: Cell) -> list[int]:
        """After which epochs there are checkpoints of ``cell``, in order."""
        pattern = re.compile(re.escape(cell.id) + r"\.checkpoint-([1-9]\d{0,8})\.h5")
        names = (pattern.fullmatch(name) for name in os.listdir(self.path / "cells"))
        return sorted(int(found[1]) for found in names if found)

    def read_checkpoint(self, cell: Cell, epoch: int) -> Checkpoint:
        """The state of the training of ``cell`` after ``epoch``.

        Raises:
            BenchError: the file is damaged.
        """
        return read_checkpoint(self._checkpoint_path(cell, epoch), cell)

    def remove_checkpoints(self, cell: Cell, *, but: int = 0) -> None:
        """Those of ``cell``, but that after epoch ``but``."""
        for epoch in self.checkpoints(cell):
            path = self._checkpoint_path(cell, epoch)
            try:
                if epoch != but:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise BenchError(f"cannot remove {path}: {error.strerror}") from error

    def _checkpoint_path(self, cell: Cell, epoch: int) -> Path:
        return self.path / "cells" / f"{cell.id}.checkpoint-{epoch}.h5"

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

    def log_tail(self, cell: Cell, lines: int) -> list[str]:
        """The last lines of the log that are not empty, each cut to 300 characters."""
        path = self.log_path(cell)
        try:
            check_regular(path)
            with path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                end = log.read().decode("utf-8", "replace")
        except (OSError, BenchError):  # it never had a process, or its log is gone
            return []
        said = [line.rstrip() for line in end.splitlines() if line.strip()]
        return [line if len(line) <= 300 else f"{line[:297]}..." for line in said[-lines:]]

    def cell_files(self, cell: Cell) -> dict[str, Path]:
        """What there is of ``cell`` by the name that it has in a run of this version.

        Relative to the run, the result last: what has one has the rest.
        """
        named = {
            f"cells/{cell.id}{suffix}": self._file(cell, suffix)
            for suffix in (".h5", ".weights.h5", ".json")
        }
        found = {f"logs/{cell.id}.log": self.log_path(cell)} | named
        return {name: path for name, path in found.items() if path.is_file()}

    def all_files(self, cell: Cell) -> dict[str, Path]:
        """The same with its checkpoints."""
        saved = [self._checkpoint_path(cell, epoch) for epoch in self.checkpoints(cell)]
        return {f"cells/{path.name}": path for path in saved} | self.cell_files(cell)

    def _file(self, cell: Cell, suffix: str) -> Path:
        folder = self.path / "cells"
        names = [f"{name}{suffix}" for name in (cell.id, *cell.former_ids)]
        kept = (folder / name for name in names if (folder / name).exists())
        return next(kept, folder / names[0])


def _read(path: Path) -> bytes:
    return read_bytes(path, _MAX_JSON_BYTES)


def why(error: Exception) -> str:
    """What is wrong with a record, in one line that names the first faulty field."""
    if not isinstance(error, pydantic.ValidationError):
        return first_line(error)[:500]
    first, *more = error.errors(include_url=False)
    field = ".".join(str(part) for part in first["loc"])
    message = first_line(first["msg"].removeprefix("Value error, "))
    others = f", and {len(more)} more" if more else ""
    return (f"{field}: {message}" if field else message)[:500] + others


def _arrays_fault(arrays: CellArrays, entry: DatasetEntry) -> str | None:
    """The first array that does not fit the data set or the others, or None."""
    outputs = len(entry.classes)
    labels = (entry.test,) if entry.task == "multiclass" else (entry.test, outputs)
    shown = arrays.example_rows if arrays.example_rows is not None else np.empty(0, np.int64)
    count = (len(shown),) if shown.ndim == 1 else None
    expected: dict[str, tuple[str, tuple[int | None, ...] | None]] = {
        "step_losses": ("f", (None,)),
        "test_logits": ("f", (entry.test, outputs)),
        "test_labels": ("u", labels),
        "test_groups": ("iu", (entry.test,)),
        "example_rows": ("iu", count),
        "example_outputs": ("iu", count),
        "example_images": ("u", None if count is None else (*count, *entry.image_shape)),
        "example_maps": ("f", None if count is None else (*count, None, None)),
    }
    for name, (kinds, shape) in expected.items():
        array = getattr(arrays, name)
        if array is None:
            continue
        fits = shape is not None and len(shape) == array.ndim
        if not fits or any(
            want not in (None, has) for want, has in zip(shape or (), array.shape, strict=True)
        ):
            return f"{name} has shape {array.shape}"
        if array.dtype.kind not in kinds:
            return f"{name} is {array.dtype}"
    limits = {
        "test_labels": outputs if entry.task == "multiclass" else 2,
        "example_rows": entry.test,
        "example_outputs": outputs,
    }
    for name, limit in limits.items():
        array = getattr(arrays, name)
        if array is not None and array.size and not 0 <= array.min() <= array.max() < limit:
            return f"{name} holds {array.min()} to {array.max()}, expected 0 to {limit - 1}"
    return None

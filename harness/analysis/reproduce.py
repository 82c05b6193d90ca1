"""Reproducing a run, and what came out equal."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis.agreement import TOLERANCE, agreement
from harness.analysis.compare import (
    Key,
    accuracy_difference,
    busy,
    environment_differences,
    judge,
    outcomes_of,
    speed_in,
    unlike,
    workload_of,
)
from harness.analysis.identity import ITEMS
from harness.analysis.run import Outcome, Run, Trained, Workload
from harness.analysis.speed import has_gemm, ratio
from harness.config import Experiment, available_cpus
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.plan import Cell
from harness.results.folder import DatasetEntry, RunFolder, write_atomically
from harness.results.records import Record
from harness.stats.statistics import SIGNIFICANCE


class ArrayAgreement(Record):
    """How equal the arrays of two trainings are."""

    status: Literal["bitwise equal", "equal within rounding", "not equal", "not kept"]
    largest: float | None = None
    """Relative difference: of losses to the larger of the two, of logits to the largest of all."""


class SpeedRatio(Record):
    """Speed of the second training over that of the first.

    The intervals of all cells hold together. ``not judged``: other work went on during either.
    """

    value: float
    low: float | None
    high: float | None
    verdict: Literal["no difference shown", "faster", "slower", "too few rounds", "not judged"]
    normalised: bool
    """Whether each round was divided by the speed of a matrix product."""


class CellReproduction(Record):
    """One training, reproduced."""

    cell: Cell
    reasons: tuple[str, ...]
    """Why it does not count as reproduced; empty where it does."""
    losses: ArrayAgreement | None = None
    """Of every step; ``largest`` and what follows from it is of the first hundred: later ones
    differ by amplified rounding."""
    first_loss: float | None = None
    """Relative difference of the very first: before any training could amplify rounding."""
    logits: ArrayAgreement | None = None
    """Of the test split, after training."""
    accuracy: tuple[float, float] | None = None
    """Then and now."""
    accuracy_p: float | None = None
    """Exact McNemar, times the number of cells."""
    speed: SpeedRatio | None = None

    @property
    def bitwise(self) -> bool:
        found = [each.status for each in (self.losses, self.logits) if each]
        return found == ["bitwise equal", "bitwise equal"]


class Reproduction(Record):
    """What ``reproduction.json`` holds."""

    schema_version: Literal[1] = 1
    original: str
    """Folder of the run that was reproduced."""
    threads: int
    differences: tuple[str, ...]
    """Of machine and versions, then and now."""
    cells: tuple[CellReproduction, ...]

    @property
    def reproduced(self) -> bool:
        return not any(cell.reasons for cell in self.cells)


def experiment_of(original: RunFolder, data_dir: Path) -> Experiment:
    """The experiment of a run, to be run here on the same data.

    Frameworks that are not ready here are left out, so that the others can be reproduced.

    Raises:
        BenchError: its data are missing or have changed, so has its file of initial weights, or
            there are too few processors.
    """
    manifest = original.manifest
    experiment = manifest.experiment
    if experiment.threads > len(available_cpus()):
        raise BenchError(
            f"{original.path} used {experiment.threads} cores for each framework, and this "
            f"process may use only {len(available_cpus())}"
        )
    weights = experiment.training.initial_weights
    if weights is not None:
        _check_weights(weights, manifest.initial_weights_sha256)
    paths = [_same_data(name, entry, data_dir) for name, entry in manifest.datasets.items()]
    return experiment.model_copy(
        update={
            "datasets": tuple(str(path.resolve()) for path in paths),
            "skip_unavailable": True,
        }
    )


def compare_cells(original: RunFolder, again: RunFolder) -> Reproduction:
    """Compare two runs of one experiment, cell by cell; writes nothing."""
    before, after = Run.read(original), Run.read(again)
    same_machine = original.environment.get("cpu") == again.environment.get("cpu")
    rows, other_rows = outcomes_of(before), outcomes_of(after)
    there = again.manifest.datasets
    same_data = {
        name: name in there and entry.same_content(there[name])
        for name, entry in original.manifest.datasets.items()
    }
    found = []
    for cell in original.manifest.own_cells:
        key = Key(cell.framework, cell.model, cell.dataset)
        workload = workload_of(before, key)
        found.append(
            _cell(
                workload,
                rows[key],
                other_rows.get(key),
                cell,
                before.planned,
                again,
                same_machine,
                same_data[cell.dataset],
            )
        )
    return Reproduction(
        original=str(original.path),
        threads=original.manifest.experiment.threads,
        differences=tuple(environment_differences(original, again)),
        cells=tuple(found),
    )


def write(again: RunFolder, reproduction: Reproduction) -> Path:
    path = again.path / "reproduction.json"
    write_atomically(path, reproduction.model_dump_json(indent=2) + "\n")
    return path


def _check_weights(path: Path, sha256: str | None) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BenchError(
            f"the run starts from the weights in {path}: {error.strerror}; put that file there"
        ) from error
    if found != sha256:
        raise BenchError(
            f"{path}: these are not the weights that the run started from (SHA-256 {found}, then "
            f"{sha256})"
        )


def _same_data(name: str, entry: DatasetEntry, data_dir: Path) -> Path:
    """The file that the run used, where it was or in ``data_dir``."""
    recorded = Path(entry.path)
    candidates = [path for path in (recorded, data_dir / f"{name}.h5") if path.is_file()]
    if not candidates:
        try:
            candidates = [resolve(name, data_dir)]
        except BenchError as error:
            raise BenchError(f"the data of the run, {recorded}, are gone; {error}") from error
    digests = {}
    for path in candidates:
        with open_dataset(path, memory_budget=0) as data:
            digests[path] = data.sha256()
            if data.is_that_of(entry.sha256, entry.content_sha256):
                return path
    path, digest = next(iter(digests.items()))
    raise BenchError(
        f"{path}: not the data of the run (SHA-256 {digest}, then {entry.sha256}); create that "
        "file again, and name its folder with --data-dir"
    )


def _cell(
    workload: Workload,
    before: Outcome,
    after: Outcome | None,
    cell: Cell,
    cells: int,
    again: RunFolder,
    same_machine: bool,
    same_data: bool,
) -> CellReproduction:
    seed = cell.seed
    if seed not in before.trained:
        return CellReproduction(cell=cell, reasons=("the run itself did not finish it",))
    if after is None or seed not in after.trained:
        return CellReproduction(cell=cell, reasons=(_unfinished(after, cell, again),))
    then, now = before.trained[seed], after.trained[seed]
    one = replace(before, trained={seed: then})
    other = replace(after, trained={seed: now})
    tolerance = TOLERANCE[again.manifest.experiment.training.precision]
    found = accuracy_difference(workload, one, other)
    p = None if found.p is None else min(1.0, found.p * cells)
    differs = found.significant if p is None else p < SIGNIFICANCE
    losses, first = ArrayAgreement(status="not kept"), None
    if then.arrays and now.arrays:
        far = agreement(cell.framework, seed, now.arrays, then.arrays, tolerance)
        first = far.first_difference
        losses = array_agreement(
            then.arrays.step_losses,
            now.arrays.step_losses,
            tolerance,
            largest=far.largest_difference,
        )
    speed = _speed(one, other, again.manifest.experiment.device, cells)
    different = unlike({seed: then}, {seed: now})
    if same_data:  # perhaps another file, with the same images and labels
        different.pop("data", None)
    reasons = [f"not the same {ITEMS[item]}" for item in different]
    if first is not None and losses.status != "bitwise equal" and not first <= tolerance:
        reasons.append(f"already the first loss differs by {first:.1e} relative")
    if differs:
        reasons.append(f"accuracy {now.test.accuracy:.4f}, then {then.test.accuracy:.4f}")
    if speed.verdict in ("faster", "slower") and same_machine:
        reasons.append(f"{speed.verdict} on the same kind of processor")
    return CellReproduction(
        cell=cell,
        reasons=tuple(reasons),
        losses=losses,
        first_loss=first,
        logits=_logits(then, now, tolerance),
        accuracy=(then.test.accuracy, now.test.accuracy),
        accuracy_p=p,
        speed=speed,
    )


def _unfinished(after: Outcome | None, cell: Cell, again: RunFolder) -> str:
    if cell.framework in again.manifest.skipped:
        return f"not ready here: {again.manifest.skipped[cell.framework]}"
    if after is not None and cell.seed in after.failed:
        return f"{after.failed[cell.seed].outcome}: {after.failed[cell.seed].error}"
    return "has not run again"


def _speed(one: Outcome, other: Outcome, device: str, cells: int) -> SpeedRatio:
    results = [cell.result for outcome in (one, other) for cell in outcome.trained.values()]
    normalise = has_gemm(results, device)
    found = ratio(
        speed_in(other, normalise=normalise),
        speed_in(one, normalise=normalise),
        comparisons=cells,
    )
    judgement = judge(found, busy(one, other))
    return SpeedRatio(
        value=found.value,
        low=found.low if found.has_interval else None,
        high=found.high if found.has_interval else None,
        verdict="no difference shown" if judgement == "not significant" else judgement,
        normalised=normalise,
    )


def _logits(then: Trained, now: Trained, tolerance: float) -> ArrayAgreement:
    if then.arrays is None or now.arrays is None:
        return ArrayAgreement(status="not kept")
    one, other = then.arrays.test_logits, now.arrays.test_logits
    if one.shape != other.shape:
        return ArrayAgreement(status="not equal")
    scale = float(np.abs(one).max(initial=0.0)) or 1.0
    with np.errstate(invalid="ignore"):  # infinity less infinity
        largest = float(np.abs(other.astype(np.float64) - one).max(initial=0.0)) / scale
    return array_agreement(one, other, tolerance, largest=largest)


def array_agreement(
    then: NDArray[np.floating], now: NDArray[np.floating], tolerance: float, *, largest: float
) -> ArrayAgreement:
    """Bit for bit (NaN is NaN, and 0 is not -0), or within ``tolerance``, or neither."""
    if then.dtype == now.dtype and then.shape == now.shape and then.tobytes() == now.tobytes():
        return ArrayAgreement(status="bitwise equal", largest=0.0)
    known = None if math.isnan(largest) else largest
    within = known is not None and known <= tolerance
    return ArrayAgreement(status="equal within rounding" if within else "not equal", largest=known)

"""A run's folder as pandas frames: one row a cell, or one row an epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.console import printable
from harness.plan import Cell
from harness.results.folder import DatasetEntry, RunFolder
from harness.results.records import CellResult, Phases, counted_rounds
from harness.stats.metrics import mean_auroc

if TYPE_CHECKING:
    import pandas as pd

MIB = 2**20
CELL_COLUMNS = {
    "framework": "str",
    "model": "str",
    "dataset": "str",
    "seed": "int64",
    "status": "str",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "test_correct": "Int64",
    "test_examples": "Int64",
    "images_per_second": "float64",
    "rounds": "Int64",
    "round_seconds_median": "float64",
    "first_step_s": "float64",
    "import_s": "float64",
    "build_s": "float64",
    "start_s": "float64",
    "first_predict_s": "float64",
    "train_seconds_total": "float64",
    "evaluate_seconds": "float64",
    "final_loss": "float64",
    "val_accuracy": "float64",
    "peak_rss_mib": "float64",
    "parameters": "Int64",
    "error": "str",
    "test_auroc": "float64",
}
"""Columns of :func:`cells_frame` and of ``results.csv``, with their types."""
MEASURED = {*Phases.model_fields, "images_per_second", "rounds", "round_seconds_median",
            "train_seconds_total", "evaluate_seconds"}  # fmt: skip
"""Columns that a run for accuracies only leaves empty."""
EPOCH_COLUMNS = {
    "framework": "str",
    "model": "str",
    "dataset": "str",
    "seed": "int64",
    "epoch": "int64",
    "seconds": "float64",
    "images": "int64",
    "images_per_second": "float64",
    "loss": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "val_auroc": "float64",
    "evaluate_s": "float64",
}


_FORMULA = ("=", "+", "-", "@")


def cells_frame(
    folder: RunFolder, *, further: Mapping[Cell, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """One row for each planned cell, in the order of the plan.

    ``status`` is 'ok', 'failed', or 'not run' while the cell has no result. What was not reached
    is missing, never 0. ``rounds`` are those whose speed counts: epochs and further rounds of every
    start that were not disturbed. ``images_per_second`` and ``round_seconds_median`` are medians
    over these same rounds, ``train_seconds_total`` is the sum over all epochs. ``test_auroc`` is
    the mean over the labels that have one, or the one of two classes. ``further`` adds columns of
    numbers, by cell. Of a run for accuracies only no speed and no time is there.
    """
    import pandas as pd

    rows = cell_rows(folder, further)
    added = dict.fromkeys(name for row in rows for name in row if name not in CELL_COLUMNS)
    types = CELL_COLUMNS | dict.fromkeys(added, "float64")
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def cell_rows(
    folder: RunFolder,
    further: Mapping[Cell, Mapping[str, Any]] | None = None,
    results: Mapping[Cell, CellResult] | None = None,
) -> list[dict[str, Any]]:
    """The rows of :func:`cells_frame`, without what is missing.

    ``results``: all that there are, if they were read already.
    """
    known = {each.cell: each for each in folder.results()} if results is None else results
    rows = [
        _cell_row(cell, known.get(cell)) | dict((further or {}).get(cell, {}))
        for cell in folder.manifest.cells
    ]
    if folder.manifest.experiment.accuracy_only:
        rows = [{k: v for k, v in row.items() if k not in MEASURED} for row in rows]
    return rows


def epochs_frame(folder: RunFolder) -> pd.DataFrame:
    """One row for each epoch of each cell; epochs count from 1."""
    import pandas as pd

    rows = [
        {
            **_names(result.cell),
            "epoch": number,
            "images_per_second": epoch.images / epoch.seconds,
            **epoch.model_dump(),
        }
        for result in folder.results()
        for number, epoch in enumerate(result.epochs, start=1)
    ]
    return pd.DataFrame(rows, columns=list(EPOCH_COLUMNS)).astype(EPOCH_COLUMNS)


def auroc_labels(entry: DatasetEntry) -> tuple[str, ...]:
    """What each of a score's AUROCs is of: every label, the second of two classes, or nothing."""
    if entry.task == "multilabel":
        return entry.classes
    return entry.classes[1:] if len(entry.classes) == 2 else ()


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """:func:`cell_rows` as CSV; six significant digits are more than these measurements carry.

    Nothing stands where a value is missing. Texts are on one line, and one that a spreadsheet would
    take for a formula gets an apostrophe in front.
    """
    columns = list(dict.fromkeys([*CELL_COLUMNS, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(_no_formula(value))


def _no_formula(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _names(cell: Cell) -> dict[str, Any]:
    return cell.model_dump(include={"framework", "model", "dataset", "seed"})


def _cell_row(cell: Cell, result: CellResult | None) -> dict[str, Any]:
    row = _names(cell)
    if result is None:
        return row | {"status": "not run"}
    row |= {"status": result.status, "error": result.error}
    row["parameters"] = result.parameters or None
    row["peak_rss_mib"] = result.peak_rss_bytes / MIB or math.nan
    if result.phases is not None:
        row |= result.phases.model_dump()
    if result.epochs:
        last = result.epochs[-1]
        rounds = [each for start in counted_rounds([result]) for each in start]
        row |= {
            "rounds": len(rounds),
            "images_per_second": float(np.median([e.images / e.seconds for e in rounds])),
            "round_seconds_median": float(np.median([each.seconds for each in rounds])),
            "train_seconds_total": float(result.epoch_seconds.sum()),
            "final_loss": last.loss,
            "val_accuracy": last.val_accuracy,
        }
    if result.test is not None:
        row |= {
            "test_accuracy": result.test.accuracy,
            "test_loss": result.test.loss,
            "test_correct": result.test.correct,
            "test_examples": result.test.examples,
            "evaluate_seconds": result.test.seconds,
            "test_auroc": mean_auroc(result.test.auroc),
        }
    return row

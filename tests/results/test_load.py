"""AUROC in the frames; the rest of them is tested with the report, in ``results.csv``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config import parse_experiment
from harness.plan import Cell
from harness.results.folder import DatasetEntry, Manifest, RunFolder
from harness.results.load import auroc_labels, cell_rows, epochs_frame, to_csv
from harness.results.records import CellResult, Epoch, FinalScore


def entry(task: str, *classes: str) -> DatasetEntry:
    return DatasetEntry.model_validate(
        {
            "path": "x.h5", "sha256": "0", "train": 1, "val": 1, "test": 1,
            "image_shape": (1, 28, 28), "classes": classes, "task": task,
            "source": "[]", "split": "none", "license": "none",
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("auroc", "expected"),
    [((0.75, None, 0.5), "0.625"), ((None, None, None), ""), ((), ""), ((0.7,), "0.7")],
)
def test_mean_auroc_is_a_number_or_empty(tmp_path: Path, auroc, expected: str) -> None:
    cell = Cell(framework="torch", model="lenet5", dataset="x", seed=0)
    manifest = Manifest(
        harness_version="0",
        created="",
        command="",
        experiment=parse_experiment({"datasets": ["x"], "frameworks": ["torch"]}, where="test"),
        datasets={"x": entry("multilabel", "a", "b", "c")},
        cells=(cell,),
    )
    folder = RunFolder.create(tmp_path / "run", manifest, {})
    epoch = Epoch(
        seconds=1, images=1, loss=1, val_loss=1, val_accuracy=1, val_auroc=0.6, evaluate_s=1
    )
    score = FinalScore(examples=1, correct=1, accuracy=1, loss=1, auroc=auroc, seconds=1)
    folder.write_result(CellResult(cell=cell, started="", epochs=(epoch,), test=score))
    header, row = to_csv(cell_rows(folder)).splitlines()
    assert header.endswith(",error,test_auroc")
    assert row.rpartition(",")[2] == expected
    assert json.loads(epochs_frame(folder).to_json(orient="records"))[0]["val_auroc"] == 0.6


def test_what_each_auroc_is_of() -> None:
    assert auroc_labels(entry("multilabel", "a", "b")) == ("a", "b")
    assert auroc_labels(entry("multiclass", "healthy", "ill")) == ("ill",)
    assert auroc_labels(entry("multiclass", "a", "b", "c")) == ()
    assert auroc_labels(entry("multilabel", "only")) == ("only",)

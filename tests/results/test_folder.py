from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from harness.config import TimeLimits, parse_experiment
from harness.errors import BenchError
from harness.plan import Cell
from harness.results import folder as folder_module
from harness.results.folder import CellArrays, DatasetEntry, Manifest, RunFolder, write_atomically
from harness.results.records import CellResult, Epoch, FinalScore

CELL = Cell(framework="a", model="m", dataset="d", seed=0)
OTHER = Cell(framework="b", model="m", dataset="d", seed=0)
EPOCH = Epoch(seconds=0.5, images=8, loss=1.25, val_loss=2.5, val_accuracy=0.5, evaluate_s=0.1)
RESULT = CellResult(cell=CELL, started="2001-02-03T04:05:06+00:00", epochs=(EPOCH, EPOCH))
ARRAYS = CellArrays(
    step_losses=np.arange(4.0),
    test_logits=np.ones((2, 3), np.float32),
    test_labels=np.array([0, 2], np.uint8),
)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        harness_version="0",
        created="2001-02-03T04:05:06+00:00",
        command="bench run",
        experiment=parse_experiment({"frameworks": ["a", "b"], "threads": 1}, where="test"),
        datasets={
            "d": DatasetEntry(
                path="d.h5",
                sha256="0",
                train=8,
                val=1,
                test=2,
                image_shape=(1, 2, 2),
                classes=("x", "y", "z"),
                task="multiclass",
                source="[]",
                split="",
                license="",
            )
        },
        cells=(CELL, OTHER),
    )


@pytest.fixture
def run(tmp_path, manifest) -> RunFolder:
    return RunFolder.create(tmp_path / "run", manifest, {"cpu": "any"})


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_round_trip(run):
    run.write_result(RESULT)
    run.write_arrays(CELL, ARRAYS)
    again = RunFolder.open(run.path)
    assert again.manifest == run.manifest
    assert again.environment == {"cpu": "any"}
    assert again.results() == [RESULT]
    assert again.read_result(OTHER) is None
    assert again.read_arrays(OTHER) is None
    for name, array in vars(again.read_arrays(CELL)).items():
        np.testing.assert_array_equal(array, getattr(ARRAYS, name), strict=True)
    assert names(run.path) == [".lock", "cells", "environment.json", "experiment.json", "logs"]
    assert names(run.path / "cells") == [f"{CELL.id}.h5", f"{CELL.id}.json"]


def test_examples_are_kept_with_the_arrays_and_folders_without_them_are_read(run):
    run.write_arrays(CELL, ARRAYS)
    assert run.read_arrays(CELL).example_maps is None
    examples = {
        "example_rows": np.array([1, 0]),
        "example_outputs": np.array([2, 0]),
        "example_images": np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2),
        "example_maps": np.ones((2, 1, 1), np.float32),
    }
    run.write_arrays(CELL, ARRAYS.model_copy(update=examples))
    kept = run.read_arrays(CELL)
    for name, array in examples.items():
        np.testing.assert_array_equal(getattr(kept, name), array, strict=True)


def test_bytes_are_written_as_they_are(tmp_path):
    write_atomically(tmp_path / "a.png", b"\x89PNG\r\n")
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG\r\n"


def test_numbers_that_are_not_finite_come_back(run):
    epoch = EPOCH.model_copy(update={"loss": float("nan"), "val_loss": float("inf")})
    run.write_result(RESULT.model_copy(update={"epochs": (epoch,)}))
    kept = run.read_result(CELL)
    assert np.isnan(kept.epochs[0].loss)
    assert kept.epochs[0].val_loss == float("inf")
    # Earlier versions called such a result 'ok'.
    assert (kept.status, kept.error) == ("diverged", "a loss is not finite")


def test_a_folder_that_holds_a_run_is_refused(run, manifest):
    for refuse in (RunFolder.check_free, lambda path: RunFolder.create(path, manifest, {})):
        with pytest.raises(BenchError, match="already holds a run: continue it with --resume, or"):
            refuse(run.path)


def test_a_folder_that_holds_anything_else_is_refused(tmp_path, manifest):
    (tmp_path / "precious.txt").touch()
    with pytest.raises(BenchError, match="is not empty and holds no run: choose another with"):
        RunFolder.create(tmp_path, manifest, {})
    with pytest.raises(BenchError, match="is a file: choose a folder with --out"):
        RunFolder.create(tmp_path / "precious.txt", manifest, {})
    with pytest.raises(BenchError, match=r"is a file|cannot write"):
        RunFolder.create(tmp_path / "precious.txt" / "run", manifest, {})
    assert names(tmp_path) == ["precious.txt"]


def test_a_folder_that_is_empty_or_absent_is_free(tmp_path):
    RunFolder.check_free(tmp_path)
    RunFolder.check_free(tmp_path / "a" / "b")


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    """By a fault put in, because the superuser reads everything."""

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_module.Path, "iterdir", refuse)
    with pytest.raises(BenchError, match=f"cannot read the folder {tmp_path}: Permission denied"):
        RunFolder.check_free(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \udcff")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(BenchError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_a_failed_write_of_arrays_leaves_nothing(run):
    bad = ARRAYS.model_copy(update={"test_labels": np.array([object()])})
    with pytest.raises(TypeError):
        run.write_arrays(CELL, bad)
    assert names(run.path / "cells") == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"cell": 3}', b"\xff\xfe"])
def test_a_damaged_result_is_named(run, content):
    run.write_result(RESULT)
    path = run.path / "cells" / f"{CELL.id}.json"
    path.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        run.results()
    assert str(caught.value).startswith(f"{path}: cannot read this result (")
    assert "--resume" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["truncate", "overwrite", "incomplete"])
def test_damaged_arrays_are_named(run, damage):
    run.write_arrays(CELL, ARRAYS)
    path = run.path / "cells" / f"{CELL.id}.h5"
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "overwrite":
        path.write_bytes(content[:48] + bytes(len(content) - 48))
    else:
        with folder_module.h5py.File(path, "a") as file:
            del file["test_logits"]
    with pytest.raises(BenchError) as caught:
        run.read_arrays(CELL)
    assert str(caught.value).startswith(f"{path}: cannot read these predictions (")


@pytest.mark.parametrize("name", ["experiment.json", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff"])
def test_a_damaged_description_is_named(run, name, content):
    (run.path / name).write_bytes(content)
    with pytest.raises(BenchError, match=f"{run.path}: cannot read the run's description: "):
        RunFolder.open(run.path)


def test_no_run_to_open(tmp_path):
    with pytest.raises(BenchError, match="holds no run"):
        RunFolder.open(tmp_path)
    with pytest.raises(BenchError, match="holds no run"):
        RunFolder.open(tmp_path / "absent")


@pytest.mark.parametrize("changed", ["experiment", "cells"])
def test_resume_wants_the_same_plan(run, manifest, changed):
    assert RunFolder.resume(run.path, manifest).manifest == manifest
    values = {
        "experiment": manifest.experiment.model_copy(update={"seeds": (9,)}),
        "cells": (CELL,),
    }
    other = manifest.model_copy(update={changed: values[changed]})
    with pytest.raises(BenchError, match=f"a run with another {changed.removesuffix('s')}"):
        RunFolder.resume(run.path, other)


def test_one_process_runs_cells_in_a_folder_at_a_time(run, clean_environment):
    locked = (
        "import pathlib, sys, time; from harness.results.folder import RunFolder\n"
        "folder = RunFolder.open(pathlib.Path(sys.argv[1])); folder.lock()\n"
        "print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", locked, str(run.path)],
        stdout=subprocess.PIPE,
        env=clean_environment,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        message = rf"^{run.path} is in use by process {process.pid}: wait for it to end, or end it$"
        with pytest.raises(BenchError, match=message):
            run.lock()
        assert RunFolder.open(run.path).results() == [], "reading is nobody's alone"
        process.kill()
    run.lock()
    with pytest.raises(BenchError, match=f"is in use by process {os.getpid()}"):
        RunFolder.open(run.path).lock()
    run.unlock()
    RunFolder.open(run.path).lock()


def test_a_folder_that_is_forgotten_is_unlocked(manifest, tmp_path):
    folder = RunFolder.create(tmp_path / "run", manifest, {})
    folder.lock()
    del folder
    RunFolder.open(tmp_path / "run").lock()


def test_resume_takes_other_time_limits(run, manifest):
    limits = TimeLimits(epoch=5)
    experiment = manifest.experiment.model_copy(update={"timeout": limits})
    resumed = RunFolder.resume(run.path, manifest.model_copy(update={"experiment": experiment}))
    assert resumed.manifest.experiment.timeout == limits


def test_results_of_earlier_versions_have_no_extras(run):
    old = json.loads(RESULT.model_dump_json())
    del old["extras"]
    run.write_result(RESULT)
    (run.path / "cells" / f"{CELL.id}.json").write_text(json.dumps(old))
    assert run.read_result(CELL) == RESULT
    assert run.read_result(CELL).unfinished == {}


def changed(record, *keys, value):
    """The record as JSON with one value in it replaced."""
    data = json.loads(record.model_dump_json())
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(data)


SCORED = RESULT.model_copy(
    update={
        "test": FinalScore(examples=2, correct=1, accuracy=0.5, loss=1, auroc=(0.5,), seconds=1)
    }
)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("epochs", 1, "seconds"), 0, "epochs.1.seconds: Input should be greater than 0"),
        (("epochs", 1, "seconds"), "NaN", "epochs.1.seconds: "),
        (("epochs", 0, "images"), 0, "epochs.0.images: "),
        (("epochs", 0, "val_accuracy"), 1.5, "epochs.0.val_accuracy: "),
        (("test", "seconds"), "Infinity", "test.seconds: "),
        (("test", "seconds"), 0, "test.seconds: "),
        (("test", "correct"), -1, "test.correct: "),
        (("test", "correct"), 3, "3 of 2 images are correct"),
        (("test", "examples"), 5, "5 test images, the data set has 2"),
        (("test", "auroc"), [2], "test.auroc.0: "),
        (("cell", "framework"), "b", "it is of cell 'b-m-d-s0'"),
        (("epochs",), {}, "epochs: "),
        (("test",), [], "test: "),
        (("epochs", 0, "conditions"), {"gemm_gflops": 0}, "a matrix product ran at 0.0 GFLOP/s"),
        (("parameters",), -1, "parameters: "),
    ],
)
def test_a_result_that_cannot_be(run, keys, value, message):
    run.write_result(SCORED)
    assert run.results() == [SCORED]
    path = run.path / "cells" / f"{CELL.id}.json"
    path.write_text(changed(SCORED, *keys, value=value))
    with pytest.raises(BenchError) as caught:
        run.results()
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: cannot read this result (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"test_logits": np.ones((3, 3), np.float32)}, "test_logits has shape (3, 3)"),
        ({"test_logits": np.ones((2, 3), np.int64)}, "test_logits is int64"),
        ({"test_labels": np.zeros(3, np.uint8)}, "test_labels has shape (3,)"),
        ({"test_labels": np.array([0, 3], np.uint8)}, "test_labels holds 0 to 3, expected 0 to 2"),
        ({"test_groups": np.zeros(1, np.int64)}, "test_groups has shape (1,)"),
        ({"step_losses": np.zeros((2, 2))}, "step_losses has shape (2, 2)"),
        ({"example_rows": np.array([2])}, "example_rows holds 2 to 2, expected 0 to 1"),
        ({"example_rows": np.array([[1]])}, "example_rows has shape (1, 1)"),
        ({"example_rows": np.array([1]), "example_outputs": np.array([0, 1])},
         "example_outputs has shape (2,)"),
        ({"example_rows": np.array([1]), "example_images": np.zeros((1, 1, 3, 2), np.uint8)},
         "example_images has shape (1, 1, 3, 2)"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_their_data_set(run, arrays, message):
    run.write_arrays(CELL, ARRAYS.model_copy(update=arrays))
    with pytest.raises(BenchError) as caught:
        run.read_arrays(CELL)
    assert f"cannot read these predictions ({message}" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("datasets", "d", "test"), 0, "datasets.d.test: "),
        (("datasets", "d", "classes"), [], "datasets.d.classes: "),
        (("datasets",), [], "datasets: "),
        (("datasets",), {}, "is of a data set that is not described"),
        (("cells", 0, "framework"), "../../a", "cannot name files"),
        (("cells", 0, "framework"), "n" * 300, "cannot name files"),
        (("cells", 0, "framework"), "b", "two cells share their files"),
        (("cells", 0, "seed"), "x", "cells.0.seed: "),
    ],
)
def test_a_description_that_cannot_be(run, manifest, keys, value, message):
    (run.path / "experiment.json").write_text(changed(manifest, *keys, value=value))
    with pytest.raises(BenchError) as caught:
        RunFolder.open(run.path)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["experiment.json", "environment.json"])
@pytest.mark.parametrize("content", ["[]", "3", "[" * 100_000, '{"a":' * 100_000])
def test_lists_and_nesting_in_place_of_a_description(run, name, content):
    (run.path / name).write_text(content)
    with pytest.raises(BenchError, match=f"{run.path}: cannot read the run's description: "):
        RunFolder.open(run.path)

"""The suite: on a finished run, and with plain pytest, which makes a run by the same runner."""

from __future__ import annotations

import json
import shutil

import pytest

from harness.paths import benchmarks_dir
from harness.results.folder import RunFolder

SUITE = benchmarks_dir() / "bench_training.py"


@pytest.fixture(scope="module")
def ran(python, ready, tmp_path_factory):
    """Plain pytest with settings: its run, and the file that pytest-benchmark has written."""
    folder = tmp_path_factory.mktemp("plain")
    framework = ready("torch")
    done = python(
        "-m", "pytest", SUITE, "--frameworks", framework, "--epochs", 2, "--batch-size", 100,
        "--threads", 1, "--flip", "--run-folder", folder / "run",
        "--benchmark-json", folder / "out.json", "-p", "no:cacheprovider",
        BENCH_DATA_DIR=str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    return folder / "run", folder / "out.json"


def test_settings_make_a_run(ran):
    run, written = ran
    (result,) = RunFolder.open(run).results()
    (entry,) = json.loads(written.read_bytes())["benchmarks"]
    assert entry["stats"]["data"] == result.round_seconds.tolist()
    assert entry["extra_info"]["framework"] == result.cell.framework
    training = RunFolder.open(run).manifest.experiment.training
    assert (training.epochs, training.augmentation.flip) == (2, True)


def test_a_run_folder_alone_is_replayed(ran, python, tmp_path):
    run, written = ran
    done = python(
        "-m", "pytest", SUITE, "--run-folder", run, "--benchmark-json", tmp_path / "again.json",
        "-p", "no:cacheprovider",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (before,) = json.loads(written.read_bytes())["benchmarks"]
    (after,) = json.loads((tmp_path / "again.json").read_bytes())["benchmarks"]
    assert after == before


def test_pytest_benchmark_compares_what_was_written(ran, python, tmp_path):
    _, written = ran
    other = shutil.copy(written, tmp_path / "other.json")
    done = python(
        "-m", "pytest_benchmark", "--storage", tmp_path / "none", "compare", written, other,
        "--columns", "median,rounds",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("test_training[torch-lenet5-digits-s0]") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frameworks", "sount"], "unknown framework 'sount'"),
        (["--epochs", "0"], "options: training.epochs: "),
        (["--experiment", "/no/such/file.toml"], "cannot read the experiment file"),
        (["--run-folder", "/no/such/folder"], "/no/such/folder holds no run"),
    ],
)
def test_bad_options_are_usage_errors(python, tmp_path, arguments, message):
    done = python(
        "-m", "pytest", SUITE, *arguments, "-p", "no:cacheprovider", BENCH_DATA_DIR=str(tmp_path)
    )
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"ERROR: {message}")

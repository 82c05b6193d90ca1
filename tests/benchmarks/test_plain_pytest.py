"""The suite without ``bench run``: plain pytest with options of its own."""

from __future__ import annotations

import json

import pytest

from harness.paths import benchmarks_dir
from harness.results.folder import RunFolder

SUITE = benchmarks_dir() / "bench_training.py"


def test_training(python, ready, tmp_path):
    framework = ready("torch")
    done = python(
        "-m", "pytest", SUITE, "--frameworks", framework, "--epochs", 1, "--batch-size", 100,
        "--threads", 1, "--run-folder", tmp_path / "run", "--benchmark-json", tmp_path / "out.json",
        "-p", "no:cacheprovider",
        BENCH_DATA_DIR=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    (result,) = RunFolder.open(tmp_path / "run").results()
    (entry,) = json.loads((tmp_path / "out.json").read_bytes())["benchmarks"]
    assert entry["stats"]["data"] == [result.epochs[0].seconds]
    assert entry["extra_info"]["framework"] == framework


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frameworks", "sount"], "unknown framework 'sount'"),
        (["--epochs", "0"], "options: training.epochs: "),
        (["--experiment", "/no/such/file.toml"], "cannot read the experiment file"),
    ],
)
def test_bad_options_are_usage_errors(python, tmp_path, arguments, message):
    done = python(
        "-m", "pytest", SUITE, *arguments, "-p", "no:cacheprovider", BENCH_DATA_DIR=str(tmp_path)
    )
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"ERROR: {message}")

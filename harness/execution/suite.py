"""Replays a finished run into pytest-benchmark, which writes the run's ``benchmark.json``."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.paths import benchmarks_dir


def replay(folder: Path) -> bool:
    """Run the suite on the results in ``folder``; False where it broke, which its log explains.

    One benchmark a cell, one round a pass over the training split.
    """
    suite = benchmarks_dir()
    arguments = [
        str(suite / "bench_training.py"),
        f"--rootdir={suite}",
        f"--config-file={os.devnull}",
        f"--run-folder={folder}",
        f"--benchmark-json={folder / 'benchmark.json'}",
        "--import-mode=importlib",
        "--benchmark-quiet",
        "--capture=no",
        "--quiet",
        "-p", "no:cacheprovider",
        "-p", "pytest_benchmark.plugin",
    ]  # fmt: skip
    with (
        log_of(folder).open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        warnings.catch_warnings(),
        _hermetic(),
    ):
        # pytest-benchmark's way to say that every cell failed, which the results say too.
        warnings.filterwarnings("ignore", message="Not saving anything")
        code = pytest.main(arguments)
    return code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def log_of(folder: Path) -> Path:
    """What pytest printed."""
    return folder / "logs" / "pytest.log"


@contextlib.contextmanager
def _hermetic() -> Iterator[None]:
    """Keep the person's own pytest plugins and options out."""
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

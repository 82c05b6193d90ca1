"""Drives the pytest-benchmark suite for ``bench run``."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.execution.runner import Comparison
from harness.paths import benchmarks_dir


class _HandOver:
    """Gives the suite's conftest the comparison that was prepared here."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._comparison, "comparison")


def run_suite(comparison: Comparison) -> None:
    """Run every cell as a benchmark; pytest-benchmark's JSON goes to ``benchmark.json``.

    Failed cells are in their results, not raised.

    Raises:
        KeyboardInterrupt: the person stopped it; finished cells are kept.
        BenchError: something a person must mend stopped the run.
        RuntimeError: the suite itself broke; the message names its log.
    """
    folder = comparison.folder.path
    log = folder / "logs" / "pytest.log"
    suite = benchmarks_dir()
    arguments = [
        str(suite / "bench_training.py"),
        f"--rootdir={suite}",
        f"--config-file={os.devnull}",
        f"--benchmark-json={folder / 'benchmark.json'}",
        "--import-mode=importlib",
        "--benchmark-quiet",
        "--capture=no",
        "--quiet",
        "-p", "no:cacheprovider",
        "-p", "pytest_benchmark.plugin",
    ]  # fmt: skip
    with (
        log.open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        warnings.catch_warnings(),
        _hermetic(),
    ):
        # pytest-benchmark's way to say that every cell failed, which the results say too.
        warnings.filterwarnings("ignore", message="Not saving anything")
        try:
            code = pytest.main(arguments, plugins=[_HandOver(comparison)])
        finally:
            comparison.folder.unlock()
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if comparison.error is not None:
        raise comparison.error
    unfinished = [c for c in comparison.cells if comparison.folder.read_result(c) is None]
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or unfinished:
        raise RuntimeError(f"the benchmark suite ended with {code!r}; see {log}")


@contextlib.contextmanager
def _hermetic() -> Iterator[None]:
    """Keep the person's own pytest plugins and options out of the measurement."""
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


def default_run_folder() -> Path:
    """``runs/`` and the moment, in the current folder."""
    from datetime import datetime

    return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")

"""The suite's options, and the comparison that its benchmarks read their rounds from.

``bench run`` hands a prepared comparison over as the plugin ``comparison``; plain
``pytest benchmarks/ --frameworks torch,jax`` makes one from the options below.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest

from harness.config import Experiment, load_experiment
from harness.errors import BenchError
from harness.paths import data_dir
from harness.runner import Comparison, prepare


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("comparison", "comparison of deep-learning frameworks")
    for name, meaning in {
        "frameworks": "backends, separated by commas (default: every one that is ready)",
        "models": "model cards, separated by commas",
        "datasets": "names of data sets or HDF5 files, separated by commas",
        "seeds": "whole numbers, separated by commas",
        "epochs": "passes over the training split",
        "batch-size": "images a step",
        "threads": "processors for each framework",
        "experiment": "TOML file with an experiment",
        "run-folder": "where results are kept (default: a temporary folder)",
    }.items():
        group.addoption(f"--{name}", help=meaning)


def _experiment(config: pytest.Config) -> Experiment:
    flags: dict[str, object] = {
        name: value.split(",")
        for name in ("frameworks", "models", "datasets", "seeds")
        if (value := config.getoption(name)) is not None
    }
    if (threads := config.getoption("threads")) is not None:
        flags["threads"] = threads
    flags["training"] = {
        name: value
        for name in ("epochs", "batch_size")
        if (value := config.getoption(name)) is not None
    }
    path = config.getoption("experiment")
    return load_experiment(Path(path) if path else None, flags)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.has_plugin("comparison") or config.option.help:
        return
    folder = config.getoption("run_folder")
    if folder is None:
        folder = tempfile.mkdtemp(prefix="bench-run-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        comparison = prepare(_experiment(config), out=Path(folder), data_dir=data_dir())
    except BenchError as error:
        raise pytest.UsageError(str(error)) from error
    config.pluginmanager.register(comparison, "comparison")


def _comparison(config: pytest.Config) -> Comparison:
    comparison = config.pluginmanager.get_plugin("comparison")
    assert isinstance(comparison, Comparison)
    return comparison


@pytest.fixture
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return _comparison(request.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = _comparison(metafunc.config).cells
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])

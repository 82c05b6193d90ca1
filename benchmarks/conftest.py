"""The suite's options, and the comparison that its benchmarks read their rounds from.

``bench run`` hands a prepared comparison over as the plugin ``comparison``; plain
``pytest benchmarks/ --frameworks torch,jax`` makes one from the options below.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.config import Experiment, load_experiment
from harness.errors import BenchError
from harness.execution.runner import Comparison, prepare
from harness.measure.turns import in_child
from harness.paths import data_dir
from harness.settings import nested, options
from harness.stats.statistics import exponential, over_rounds


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("comparison", "comparison of deep-learning frameworks")
    for each in options(Experiment):
        kind: dict[str, Any] = {"metavar": each.metavar}
        if each.is_switch:
            kind = {"action": argparse.BooleanOptionalAction}
        elif each.setting.alone:
            kind |= {"nargs": "?", "const": each.setting.alone}
        group.addoption(each.flag, dest=each.parameter, default=None, help=each.summary, **kind)
    group.addoption("--experiment", metavar="FILE", help="TOML file with an experiment.")
    group.addoption(
        "--run-folder", metavar="DIR", help="Where results are kept [default: a temporary folder]."
    )


def _experiment(config: pytest.Config) -> Experiment:
    given = {each.parameter: config.getoption(each.parameter) for each in options(Experiment)}
    for each in options(Experiment):
        if each.is_list and given[each.parameter] is not None:
            given[each.parameter] = given[each.parameter].split(",")
    path = config.getoption("experiment")
    return load_experiment(Path(path) if path else None, nested(Experiment, given))


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
    comparison = _comparison(metafunc.config)
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", comparison.cells, ids=[cell.id for cell in comparison.cells])
    if "row" in metafunc.fixturenames:
        names = [
            n
            for n, spec in comparison.backends.items()
            if spec.by_default and _rows_script(spec.family.name).exists()
        ]
        # Nobody else writes for an engine of our own: it has no public style.
        kind = metafunc.function.__name__
        names = [n for n in names if kind != "test_peers" or n != "julia-reference"]
        # Variants of a framework are fed alike, and Julia's rows by blocks of whole batches.
        names = [n for n in names if kind != "test_feeding" or n in ("torch", "jax")]
        metafunc.parametrize("row", names)


def _rows_script(family: str) -> Path:
    return Path(__file__).with_name(f"rows_{family}.py")


_ROUNDS = {"overhead": 20, "peers": 20, "feeding": 10}
_rounds: dict[tuple[str, str], dict[str, list[float]]] = {}
_ratios: list[str] = []


@pytest.fixture
def in_turns(
    comparison: Comparison, benchmark: BenchmarkFixture, state_ratio: Callable[..., None]
) -> Callable[..., dict[str, list[float]]]:
    """Seconds of every round, by row, of one framework's rows, all run in turns in one process.

    The ratio of ``row`` against another row goes to the benchmark's extra information and into
    the summary at the end of the session. It is reported, never asserted: it is a timing.
    """
    manifest = comparison.folder.manifest
    (dataset, entry), *_ = manifest.datasets.items()
    model = manifest.experiment.models[0]

    def measure(kind: str, row: str, *, against: str) -> dict[str, list[float]]:
        family = comparison.backends[row].family.name
        if (kind, family) not in _rounds:
            _rounds[kind, family] = in_child(
                _rows_script(family),
                {
                    "dataset": str(Path(entry.path).resolve()),
                    "model": model,
                    "batch_size": manifest.experiment.training.batch_size,
                    "threads": manifest.experiment.threads,
                    "rounds": _ROUNDS[kind],
                    "kind": kind,
                },
                threads=manifest.experiment.threads,
            )
        seconds = _rounds[kind, family]
        benchmark.group = f"{kind}, {dataset} {model}, seconds an epoch"
        state_ratio(f"{model} on {dataset}", seconds, row, against=against)
        return seconds

    return measure


@pytest.fixture
def state_ratio(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """Note in the benchmark and in the summary how long ``row`` took by ``against``."""

    def state(what: str, seconds: dict[str, list[float]], row: str, *, against: str) -> None:
        ratio = exponential(over_rounds(np.log(seconds[row]) - np.log(seconds[against])))
        benchmark.extra_info |= {"against": against, "time_ratio": ratio._asdict()}
        _ratios.append(
            f"{what}: {row} takes {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) of the "
            f"time of {against}: {1 / ratio.value:.2f} times as fast"
        )

    return state


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _ratios:
        terminalreporter.section("ratios, paired by round, with 95 % intervals")
        for line in _ratios:
            terminalreporter.write_line(line)

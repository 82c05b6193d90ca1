"""The suite's options, and the run that its benchmarks replay.

``--run-folder DIR`` alone replays the finished run in DIR, as ``bench run`` does at its end;
``pytest benchmarks/ --frameworks torch,jax`` makes a run by the same runner and replays that.
"""

from __future__ import annotations

import argparse
import atexit
import os
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
from harness.execution.runner import Comparison, prepare, run
from harness.measure.interleave import in_child
from harness.paths import data_dir
from harness.plugins import find_backend
from harness.results.folder import RunFolder
from harness.settings import nested, options
from harness.stats.statistics import exponential, over_rounds
from harness.variables import for_worker

FOLDER = pytest.StashKey[RunFolder]()
COMPARISON = pytest.StashKey[Comparison]()
"""Only where the run is still to be made."""


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
        "--run-folder",
        metavar="DIR",
        help="Alone: replay the run in it. With other options: where the results are kept "
        "[default: a temporary folder].",
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
    """Open the run whose results are replayed, or check the experiment that is to be run."""
    if config.option.help:
        return
    folder = config.getoption("run_folder")
    try:
        if folder is not None and not _asks_for_an_experiment(config):
            config.stash[FOLDER] = RunFolder.open(Path(folder))
            return
        if folder is None:
            folder = tempfile.mkdtemp(prefix="bench-run-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        comparison = prepare(_experiment(config), out=Path(folder), data_dir=data_dir())
    except BenchError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[COMPARISON] = comparison
    config.stash[FOLDER] = comparison.folder


def _asks_for_an_experiment(config: pytest.Config) -> bool:
    names = ["experiment", *(each.parameter for each in options(Experiment))]
    return any(config.getoption(name) is not None for name in names)


@pytest.fixture(scope="session")
def finished(pytestconfig: pytest.Config) -> RunFolder:
    """The run whose rounds are replayed; made now, unless a finished one was named."""
    if (comparison := pytestconfig.stash.get(COMPARISON, None)) is not None:
        try:
            run(comparison)
        except BenchError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    return pytestconfig.stash[FOLDER]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    manifest = metafunc.config.stash[FOLDER].manifest
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", manifest.cells, ids=[cell.id for cell in manifest.cells])
    if "variant" in metafunc.fixturenames:
        specs = [find_backend(name) for name in manifest.experiment.frameworks]
        names = [s.name for s in specs if s.by_default and _variants_script(s.family.name).exists()]
        # Nobody else writes for an engine of our own: it has no public style.
        kind = metafunc.function.__name__
        names = [n for n in names if kind != "test_peers" or n != "julia-reference"]
        # Variants of a framework are fed alike, and Julia's by blocks of whole batches.
        names = [n for n in names if kind != "test_feeding" or n in ("torch", "jax")]
        metafunc.parametrize("variant", names)


def _variants_script(family: str) -> Path:
    return Path(__file__).with_name(f"variants_{family}.py")


_ROUNDS = {"overhead": 20, "peers": 20, "feeding": 10}
_rounds: dict[tuple[str, str], dict[str, list[float]]] = {}
_ratios: list[str] = []


@pytest.fixture
def interleaved(
    pytestconfig: pytest.Config, benchmark: BenchmarkFixture, state_ratio: Callable[..., None]
) -> Callable[..., dict[str, list[float]]]:
    """Seconds of every round, by variant, of one framework's, interleaved in one process.

    The ratio of ``variant`` to another one goes to the benchmark's extra information and into
    the summary at the end of the session. It is reported, never asserted: it is a timing.
    """
    manifest = pytestconfig.stash[FOLDER].manifest
    (dataset, entry), *_ = manifest.datasets.items()
    model = manifest.experiment.models[0]

    def measure(kind: str, variant: str, *, against: str) -> dict[str, list[float]]:
        family = find_backend(variant).family.name
        if (kind, family) not in _rounds:
            _rounds[kind, family] = in_child(
                _variants_script(family),
                {
                    "dataset": str(Path(entry.path).resolve()),
                    "model": model,
                    "batch_size": manifest.experiment.training.batch_size,
                    "threads": manifest.experiment.threads,
                    "rounds": _ROUNDS[kind],
                    "kind": kind,
                },
                threads=manifest.experiment.threads,
                environment=for_worker(os.environ),
            )
        seconds = _rounds[kind, family]
        benchmark.group = f"{kind}, {dataset} {model}, seconds an epoch"
        state_ratio(f"{model} on {dataset}", seconds, variant, against=against)
        return seconds

    return measure


@pytest.fixture
def state_ratio(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """Adds how long a variant took relative to another to the benchmark and to the summary."""

    def state(what: str, seconds: dict[str, list[float]], variant: str, *, against: str) -> None:
        ratio = exponential(over_rounds(np.log(seconds[variant]) - np.log(seconds[against])))
        benchmark.extra_info |= {"against": against, "time_ratio": ratio._asdict()}
        _ratios.append(
            f"{what}: {variant} takes {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) "
            f"of the time of {against}: {1 / ratio.value:.2f} times as fast"
        )

    return state


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _ratios:
        terminalreporter.section("ratios, paired by round, with 95 % intervals")
        for line in _ratios:
            terminalreporter.write_line(line)

"""The command in a process of its own, small data, and backends that need no framework."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from harness import plugins
from harness.backends.spec import BackendSpec
from harness.data.schema import ImageDataset, Split
from harness.data.writer import write_dataset
from harness.execution import group
from harness.results.records import MachinePeak

PLANTED = Path(__file__).parent / "execution"
PYTHONPATH = os.pathsep.join(filter(None, [str(PLANTED), os.environ.get("PYTHONPATH")]))
# Signals that are ignored stay so in child processes, and a shell starts what it runs in the
# background that way (nohup too): tests that send them to a child would wait for ever.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# In a process that pytest-xdist started, the pytest-benchmark of a run would be disabled.
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
    del os.environ[name]

# The references that tests compute in NumPy: as a second test runs beside, threads would only wait.
threadpool_limits(1)

MEASURE = group.measure_machine
PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 1.0, "float64": 1.0}, bandwidth_gb_s=1.0)
Bench = Callable[..., subprocess.CompletedProcess[str]]


# The files that take longest. Two processes share the files in the order of collection: with these
# first, neither waits for the other in the end.
LONGEST = (
    "parity/test_parity.py",
    "examples/test_examples.py",
    "faults/test_faults.py",
    "regression/test_accuracy.py",
    "testing/test_kit.py",
    "testing/test_jax.py",
    "testing/test_torch.py",
    "execution/test_group.py",
    "execution/test_endurance.py",
    "execution/test_dask.py",
    "execution/test_checkpoints.py",
    "cli/test_run.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, in that order; the rest stays as it is."""

    def rank(item: pytest.Item) -> int:
        file = item.path.as_posix()
        return next((n for n, name in enumerate(LONGEST) if file.endswith(name)), len(LONGEST))

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seconds by file: what to shorten when the whole takes too long."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[report.nodeid.partition("::")[0]] += round(report.duration)
    terminalreporter.section("slowest files")
    for file, count in seconds.most_common(25):
        terminalreporter.line(f"{count:5d} s  {file}")


def pytest_report_header() -> list[str]:
    """Which Julia rows the tests below run, and which they skip and why."""
    lines = []
    for name in ("knet", "julia-reference"):
        spec = plugins.backends()[name]
        versions = ", ".join(f"{package} {version}" for package, version in spec.versions().items())
        missing = spec.missing()
        lines.append(
            f"{name}: runs ({versions})" if missing is None else f"{name}: not run, {missing}"
        )
    return lines


def _environment(**more: str) -> dict[str, str]:
    unwanted = ("FORCE_COLOR", "TTY_COMPATIBLE", "BENCH_DATA_DIR", "PYTEST_ADDOPTS")
    return {key: value for key, value in os.environ.items() if key not in unwanted} | more


def without_proof(arguments: Sequence[object]) -> list[str]:
    """``arguments``; a run among them ends without a proof of parity unless they ask for it."""
    words = [*map(str, arguments)]
    run = words[:1] == ["run"] and "--parity" not in words
    return [*words, "--no-parity"] if run else words


def _runner(*command: str) -> Bench:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *without_proof(arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
            env=_environment(PYTHONPATH=PYTHONPATH, **environment),
        )

    return run


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Runs ``bench ARGUMENTS``; keywords are environment variables."""
    return _runner(sys.executable, "-m", "harness")


@pytest.fixture(scope="session")
def planted_bench() -> Bench:
    """The same with the planted backends, by the lower-case names of their classes."""
    return _runner(sys.executable, str(PLANTED / "planted_bench.py"))


@pytest.fixture(scope="session")
def python() -> Bench:
    """Runs Python code in a process of its own: ``python("-c", code)``."""
    return _runner(sys.executable)


@pytest.fixture(scope="session")
def clean_environment() -> dict[str, str]:
    """The environment that the runners above give their process."""
    return _environment(PYTHONPATH=PYTHONPATH)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, BackendSpec]]:
    """The planted backends, by name; the registry knows no others."""
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.syspath_prepend(PLANTED)
    # Seconds a run, and of no interest to most tests; those that are about it ask for `measured`.
    monkeypatch.setattr(group, "measure_machine", lambda *_: PEAK)
    from planted import SPECS

    known = plugins.backends()
    before = dict(known)
    known.clear()
    known.update(SPECS)
    yield known
    monkeypatch.undo()  # what a test has put in, before what was there comes back
    known.clear()
    known.update(before)


@pytest.fixture
def measured(planted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine can do is measured after all."""
    monkeypatch.setattr(group, "measure_machine", MEASURE)


@pytest.fixture(scope="session")
def small_dataset() -> Callable[..., ImageDataset]:
    """Random pixels, 3 classes; keywords replace fields of ImageDataset."""

    def make(sizes=(40, 9, 12), shape=(1, 12, 12), **fields) -> ImageDataset:
        rng = np.random.default_rng(3)
        splits = {
            name: Split(
                rng.integers(0, 256, (size, *shape), dtype=np.uint8),
                (np.arange(size) % 3).astype(np.uint8),
            )
            for name, size in zip(("train", "val", "test"), sizes, strict=True)
        }
        values = {"name": "small", "task": "multiclass", "classes": ("a", "b", "c")}
        return ImageDataset(**(values | {"splits": splits} | fields))

    return make


@pytest.fixture(scope="session")
def small_file(small_dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training images of 12x12 pixels."""
    return write_dataset(tmp_path_factory.mktemp("small") / "small.h5", small_dataset())


@pytest.fixture(scope="session")
def ready() -> Callable[..., str]:
    """Those of the frameworks named that can run here, joined by commas; skips without any."""

    def choose(*names: str) -> str:
        found = [name for name in names if plugins.backends()[name].missing() is None]
        if not found:
            pytest.skip(f"none of {', '.join(names)} can run here")
        return ",".join(found)

    return choose

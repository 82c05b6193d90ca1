"""``--executor dask``: groups on the workers of a cluster, results written by the parent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from trained import assert_same

from harness.config import parse_experiment
from harness.errors import BenchError
from harness.execution import dask
from harness.execution.runner import prepare
from harness.results.folder import RunFolder

pytest.importorskip("distributed", reason="dask.distributed is not installed")

NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")
HERE = Path(__file__).parent
NAMES = ("remembers", "alsoremembers")
EPOCHS = 6


@pytest.fixture(scope="module")
def environment(tmp_path_factory, clean_environment):
    """Where the planted backends are installed, as an entry point of a package would be."""
    path = tmp_path_factory.mktemp("site")
    info = path / "planted-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[harness.backends]\nplanted = planted:BACKENDS\n")
    paths = [str(path), str(HERE), clean_environment["PYTHONPATH"]]
    cache = tmp_path_factory.mktemp("cache")
    return clean_environment | {
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(cache),
        "PLANTED_STEP_S": "0.02",
    }


class Bench:
    """Starts ``bench run`` on the small data set."""

    def __init__(self, environment, data, tmp_path):
        self.environment, self.data, self.tmp = environment, data, tmp_path

    def start(self, out, *words, timed=False):
        words = [*words, *([] if timed else ["--accuracy-only"])]
        command = [
            sys.executable, "-m", "harness", "run", "--frameworks", ",".join(NAMES),
            "--datasets", self.data, "--epochs", EPOCHS, "--batch-size", 8, "--seeds", "0,1",
            "--threads", 1, "--checkpoint-seconds", 0, "--no-warm-start", "--no-parity",
            "--verbose", "--out", self.tmp / out, *words,
        ]  # fmt: skip
        return subprocess.Popen(
            [str(word) for word in command],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, out, *words, timed=False):
        with self.start(out, *words, timed=timed) as process:
            _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        return RunFolder.open(self.tmp / out), stderr


@pytest.fixture
def bench(environment, small_file, tmp_path):
    return Bench(environment, small_file, tmp_path)


@pytest.fixture(scope="module")
def here(environment, small_file, tmp_path_factory):
    """The same experiment in this process's own workers."""
    folder, _ = Bench(environment, small_file, tmp_path_factory.mktemp("here")).run("run")
    return folder


def descendants(process):
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def dask_workers_that_train(process):
    """Processes of dask below ``process`` that have a framework's worker as a child."""
    found = []
    for child in descendants(process):
        try:
            if any("harness.execution.worker" in " ".join(c.cmdline()) for c in child.children()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def until(what, *, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_results_are_those_of_a_run_here(bench, here):
    folder, _ = bench.run("run", "--executor", "dask", timed=True)
    assert_same(here, folder)
    assert not list(folder.path.rglob("*checkpoint*"))
    (machine,) = {str(each["cpu"]) for each in folder.environments.values()}
    assert folder.environment["cpu"] == machine
    sessions = {result.session for result in folder.results()}
    assert len(sessions) == 2, "one a group: its frameworks are interleaved"
    assert {name.partition("/")[0] for name in sessions} <= folder.environments.keys()
    assert "images/s" in (folder.path / "report.md").read_text("utf-8")
    assert (folder.path / "machine.json").exists()


def test_groups_train_side_by_side_for_accuracies(bench, here):
    folder, stderr = bench.run("run", "--executor", "dask")
    assert_same(here, folder)
    told = re.findall(r"-s(\d): epoch", stderr)
    if (os.cpu_count() or 1) > 1:
        assert told != sorted(told), "the epochs of both groups come mixed"


def test_the_group_of_a_lost_worker_goes_on_elsewhere(bench, here):
    """From its checkpoints, with the result of a run that lost none."""
    bench.environment = bench.environment | {"PLANTED_STEP_S": "0.1"}  # still at it when killed
    # One group, so that what trains is what has the checkpoint.
    with bench.start("run", "--executor", "dask", "--seeds", 0) as process:
        cells = bench.tmp / "run" / "cells"
        until(lambda: list(cells.glob("remembers-*.checkpoint-*.h5")))
        (worker, *_) = until(lambda: dask_workers_that_train(process))
        worker.kill()
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "was lost; its group goes to another" in stderr
    assert re.search(r" remembers-lenet5-small-s0: resuming after epoch \d", stderr)
    folder = RunFolder.open(bench.tmp / "run")
    assert_same(folder, here)
    assert any(result.earlier for result in folder.results())


@NIGHTLY
def test_an_interrupt_leaves_no_process_and_resume_completes(bench, here):
    with bench.start("run", "--executor", "dask") as process:
        until(lambda: dask_workers_that_train(process))
        children = descendants(process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    folder, _ = bench.run("run", "--resume")  # here, what dask has begun
    assert_same(here, folder)


@pytest.fixture
def cluster(environment, tmp_path):
    """A scheduler and two workers, as on other machines; the address."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, words)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        processes.append(process)

    file = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file",
          file)  # fmt: skip
    until(file.exists)
    for _ in range(2):
        start("worker", "--scheduler-file", file, "--nthreads", 1, "--no-dashboard",
              "--local-directory", tmp_path)  # fmt: skip
    yield re.search(r"tcp://[\d.]+:\d+", file.read_text())[0]
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_cluster_gets_its_data_once_a_machine(bench, here, cluster, environment):
    cached = Path(environment["XDG_CACHE_HOME"]) / "pipeline-bench" / "data"
    for path in cached.glob("*.h5"):
        path.unlink()
    words = ("--executor", "dask", "--scheduler", cluster)
    folder, _ = bench.run("run", *words)
    assert_same(here, folder)
    (copy,) = cached.glob("*.h5")
    assert copy.stem == folder.manifest.datasets["small"].sha256
    before = copy.stat().st_mtime_ns
    bench.run("again", *words)
    assert copy.stat().st_mtime_ns == before
    copy.write_bytes(copy.read_bytes()[:-1])  # damaged meanwhile
    folder, _ = bench.run("third", *words)
    assert_same(here, folder)


def test_no_scheduler(planted, small_file, tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_S", 0.5)
    experiment = parse_experiment(
        {"frameworks": ["sound"], "datasets": [str(small_file)], "training": {"batch_size": 8}},
        where="test",
    )
    comparison = prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)
    with pytest.raises(BenchError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        dask.run_on_dask(comparison, "tcp://127.0.0.1:9")


def test_a_scheduler_without_dask_is_refused(planted_bench):
    done = planted_bench("run", "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "add --executor dask" in done.stderr


def test_a_worker_writes_only_files_of_its_cells(planted, small_file, tmp_path):
    experiment = parse_experiment(
        {"frameworks": ["sound"], "datasets": [str(small_file)], "training": {"batch_size": 8}},
        where="test",
    )
    comparison = prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)
    parent = object.__new__(dask._Parent)
    parent.folder = comparison.folder
    parent.cells = {cell.id: cell for cell in comparison.cells}
    assert parent._path("cells/sound-lenet5-small-s0.json").parent.name == "cells"
    for name in ("experiment.json", "cells/../experiment.json", "cells/other-s0.json",
                 "/etc/passwd", "cells/sound-lenet5-small-s0.x/../../y"):  # fmt: skip
        with pytest.raises(BenchError, match="no cell's"):
            parent._path(name)

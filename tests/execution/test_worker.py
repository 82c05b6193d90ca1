from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import harness.execution.worker
from harness import variables
from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.cpus import available_cpus, permitted_cpus
from harness.errors import BenchError, WorkerError, WorkerTimeoutError
from harness.execution.worker import Worker
from harness.measure.probe import MachineProbe

ORDER = np.arange(6).reshape(2, 3)
RATES = np.array([0.1, 0.2])
WEIGHTS = {"a": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "worker.log").open("w+b") as file:
        yield file


def written(log) -> str:
    log.seek(0)
    return log.read().decode()


@pytest.fixture
def start(planted, small_file, log):
    """Starts a planted backend and builds it; every worker is stopped in the end."""
    workers = []

    def start(name: str, *, build: bool = True, **options) -> Worker:
        options = {"threads": 1, "cpus": available_cpus(), "log": log} | options
        workers.append(Worker(planted[name], **options))
        workers[-1].import_framework()
        if build:
            task = TrainingJob(
                model="lenet5",
                dataset=small_file,
                optimizer=Optimizer(),
                precision="float32",
                threads=1,
            )
            workers[-1].build(task, WEIGHTS)
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


def test_arrays_cross_unchanged(start):
    worker = start("sound")
    seconds, losses = worker.train_epoch(ORDER, RATES)
    assert seconds > 0
    assert losses.tolist() == [1.0, 0.5]
    assert {name: w.tolist() for name, w in worker.save_weights().items()} == {
        name: w.tolist() for name, w in WEIGHTS.items()
    }
    worker.load_weights({"a": WEIGHTS["a"] * 2})
    assert worker.save_weights()["a"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert worker.predict("test")[1].shape == (12, 3)
    logits, loss, gradients = worker.loss_and_gradients(np.array([3, 4]))
    assert (logits.shape, loss, list(gradients)) == ((2, 3), 0.5, ["a"])


def test_threads_and_processors_are_set_before_the_framework_is_imported(start):
    cpus = available_cpus()[::-1]
    facts = start("sound", cpus=cpus).facts()
    assert facts["CPUs"] == facts["CPUs at import"] == str(cpus[0])
    assert facts["OMP_NUM_THREADS"] == facts["OPENBLAS_NUM_THREADS"] == "1"
    assert facts["MKL_NUM_THREADS"] == "1"
    assert facts["pid"] != str(os.getpid())


def test_without_processors_it_moves_once_the_framework_has_its_threads(start):
    facts = start("sound", cpus=()).facts()
    assert facts["CPUs at import"] in map(str, permitted_cpus())
    assert facts["CPUs"] == ",".join(map(str, permitted_cpus()))


@pytest.mark.skipif(len(available_cpus()) < 2, reason="needs two processors")
def test_as_many_processors_as_threads(start):
    facts = start("sound", threads=2, environment={"MKL_NUM_THREADS": "9"}).facts()
    assert facts["CPUs at import"] == ",".join(map(str, available_cpus()[:2]))
    assert facts["OMP_NUM_THREADS"] == "2"
    assert facts["MKL_NUM_THREADS"] == "9"  # what the caller sets wins


def test_what_changes_how_frameworks_compute_is_not_inherited(start, monkeypatch):
    given = {
        "JAX_DISABLE_JIT": "1",
        "XLA_FLAGS": "--xla_cpu_use_thunk_runtime=false",
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_WAIT_POLICY": "passive",
        "JULIA_NUM_THREADS": "7",
        "JULIA_DEPOT_PATH": "/depot",
        "OPENBLAS_CORETYPE": "Haswell",
        "MALLOC_ARENA_MAX": "1",
        "EDITOR": "ed",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = start("tellsenvironment").facts()
    passed = ["JULIA_DEPOT_PATH", "OPENBLAS_CORETYPE", "MALLOC_ARENA_MAX", "EDITOR"]
    assert [name for name in given if name in found] == passed

    told = variables.recorded(os.environ)
    assert {"JAX_DISABLE_JIT", "XLA_FLAGS", "JULIA_NUM_THREADS"} <= set(told["variables_removed"])
    assert set(passed[:3]) <= set(told["variables"])
    assert "EDITOR" not in told["variables"]
    assert set(passed[1:3]) <= set(variables.decisive(told["variables"]))
    assert "JULIA_DEPOT_PATH" not in variables.decisive(told["variables"])


@pytest.mark.parametrize("path", [None, os.pathsep])
def test_modules_in_the_current_folder_are_not_imported(start, tmp_path, monkeypatch, path):
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(tmp_path)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path + os.environ["PYTHONPATH"])
    with MachineProbe(threads=1, cpus=available_cpus()) as probe:
        assert probe.gemm_gflops("float32") > 0
    assert start("sound").facts()["OMP_NUM_THREADS"] == "1"


def test_peak_memory_is_the_childs_own(start):
    ballast = np.ones(400 * 2**20, np.uint8)  # the parent's peak, were it inherited
    worker = start("allocates")
    before = worker.peak_rss_bytes()
    worker.train_epoch(ORDER, RATES)
    after = worker.peak_rss_bytes()
    assert 60 * 2**20 < after - before < 120 * 2**20
    assert 2**20 < before < ballast.nbytes


def test_an_exception_crosses_with_its_message_and_the_worker_lives_on(start, log):
    worker = start("raises")
    with pytest.raises(WorkerError) as caught:
        worker.train_epoch(ORDER, RATES)
    assert str(caught.value) == "ValueError: the planted fault"
    assert "Traceback" in caught.value.details
    assert "and its second line" in caught.value.details
    assert "and its second line" in written(log)
    assert worker.predict("val")[1].shape == (9, 3)


def test_what_a_person_can_mend_stays_a_bench_error(start):
    with pytest.raises(BenchError, match=r"^something a person can fix$"):
        start("usererror").train_epoch(ORDER, RATES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("exits", "the exits process ended with exit code 7 during train_epoch"),
        ("killed", "the killed process was killed by signal 9 (out of memory?) during train_epoch"),
    ],
)
def test_a_process_that_dies_says_how(start, name, message):
    worker = start(name)
    with pytest.raises(WorkerError) as caught:
        worker.train_epoch(ORDER, RATES)
    assert str(caught.value) == message
    with pytest.raises(WorkerError, match="during predict"):
        worker.predict("val")


def test_a_backend_that_cannot_be_made_or_imported(planted, start):
    with pytest.raises(WorkerError, match=r"^TypeError: cannot be made$"):
        start("cannotbemade")
    worker = start("sound", build=False)
    worker.spec = worker.spec.__class__(
        **{**vars(worker.spec), "factory": "no_such_module_anywhere:Class"}
    )
    with pytest.raises(WorkerError, match=r"^ModuleNotFoundError: .*no_such_module_anywhere"):
        worker.import_framework()


def test_stray_prints_go_to_the_log(start, log, capfd):
    worker = start("talks")
    assert worker.train_epoch(ORDER, RATES)[1].tolist() == [1.0, 0.5]
    worker.stop()
    for words in ("stray words on stdout", "stray words on stderr", "stray bytes"):
        assert words in written(log)
    assert capfd.readouterr() == ("", "")


def test_stop_ends_a_process_that_hangs(start, monkeypatch):
    monkeypatch.setattr(harness.execution.worker, "_STOP_GRACE_S", 0.2)
    worker = start("hangs")
    worker._connection.send(("facts", ()))
    worker.stop()
    assert worker._process.returncode == -9
    worker.stop()  # again is no harm


def test_stop_lets_a_process_end_by_itself(start):
    with start("sound") as worker:
        pass
    assert worker._process.returncode == 0
    with pytest.raises(WorkerError, match="the sound process ended with exit code 0 during facts"):
        worker.facts()


def test_a_worker_ends_when_its_parent_is_gone(start):
    worker = start("sound")
    worker._connection.close()  # as the death of the parent would
    assert worker._process.wait(30) == 0


def test_a_worker_that_cannot_start_leaves_nothing_behind(planted, log, monkeypatch):
    processes = []
    popen = harness.execution.worker.subprocess.Popen

    def watched(*arguments, **options):
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(harness.execution.worker.subprocess, "Popen", watched)
    beyond = max(available_cpus()) + 10_000
    with pytest.raises(WorkerError, match=r"OSError|ValueError|OverflowError"):
        Worker(planted["sound"], threads=1, cpus=(beyond,), log=log)
    assert [process.returncode for process in processes] == [-9]


@pytest.mark.parametrize("name", ["stops", "busy"])
def test_a_request_that_takes_too_long_ends_the_worker(start, name):
    worker = start(name)
    worker.load_weights(WEIGHTS)
    worker.limit_s = 0.3
    with pytest.raises(WorkerTimeoutError) as caught:
        worker.train_epoch(ORDER, RATES)
    assert str(caught.value) == (
        f"the {name} process did not finish train_epoch within 0.3 s and was ended (--timeout)"
    )
    assert worker._process.returncode == -9
    assert not worker.alive


def test_a_request_too_large_to_be_sent_to_a_stopped_worker(start):
    worker = start("sound")
    worker.limit_s = 0.3
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerTimeoutError, match="did not finish load_weights within"):
        worker.load_weights({"a": np.ones(2**22, np.float32)})


def test_what_cannot_be_read_back_is_an_error_of_the_worker(start):
    """A class of a module that only the worker knows."""
    with pytest.raises(WorkerError, match=r"^strangelosses returned what cannot be read: "):
        start("strangelosses").train_epoch(ORDER, RATES)


def test_what_a_worker_returns_imports_nothing_here(start):
    message = "^foreignlosses returned what cannot be read: a fractions.Fraction "
    with pytest.raises(WorkerError, match=message):
        start("foreignlosses").train_epoch(ORDER, RATES)


def test_facts_are_text(start):
    facts = start("ownversions").facts()
    assert facts["version"] == "1.0"
    assert {type(fact) for fact in facts.values()} == {str}


PARENT = """
import sys, threading, time
from pathlib import Path
import numpy as np
from planted import SPECS
from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.execution.worker import Worker

name, dataset, where = sys.argv[1:]

def start():
    global worker
    worker = Worker(SPECS[name], threads=1)
    worker.import_framework()
    task = TrainingJob(model="lenet5", dataset=Path(dataset), optimizer=Optimizer(),
                precision="float32", threads=1)
    worker.build(task, {})
    worker.load_weights({})  # what follows is no warm-up

if where == "main":
    start()
else:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
print(worker.pid, flush=True)
worker._connection.send(("train_epoch", (np.zeros((2, 3), np.int64), np.ones(2), None)))
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is there")
@pytest.mark.parametrize(
    ("name", "where"),
    # Held by C code, the interpreter runs no thread that could notice.
    [("busy", "main"), ("sleeps", "main"), ("sleeps", "another thread")],
)
def test_a_worker_dies_with_its_parent_in_the_middle_of_an_epoch(
    name, where, small_file, clean_environment
):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, name, str(small_file), where],
        stdout=subprocess.PIPE,
        env=clean_environment,
        text=True,
    )
    with parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        assert running(pid), "the end of the thread that started it ends no worker"
        parent.kill()
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(pid)


def running(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of it for its parent to read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_worker_whose_parent_is_gone_already_does_not_start(small_file, clean_environment):
    """The kernel's signal is sent at the parent's death, not after it."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.execution.worker", "0", "1"],  # not started by process 1
        env=clean_environment,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL

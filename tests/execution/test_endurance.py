"""Runs that something interrupts: whatever has finished is kept, and nothing else is left behind.

BENCH_NIGHTLY=1 repeats what happens at random moments more often.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import cycle, islice
from pathlib import Path

import psutil
import pytest
from trained import assert_same

from harness.config import parse_experiment
from harness.data.validate import validate
from harness.errors import BenchError
from harness.execution.runner import prepare, run
from harness.files import file_sha256
from harness.report.markdown import render
from harness.results.folder import RunFolder

NIGHTLY = os.environ.get("BENCH_NIGHTLY") == "1"
SCRIPT = Path(__file__).parent / "planted_bench.py"
MARK = "PLANTED_MARK"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and mounts disks")


class Stage:
    """A place to run the command in: its own run folder and folder for temporary files."""

    def __init__(self, path: Path, data: Path, environment: dict[str, str]) -> None:
        self.out = path / "run"
        self.temporary = path / "tmp"
        self.temporary.mkdir()
        self.data = data
        self.environment = environment | {"TMPDIR": str(self.temporary), MARK: str(path)}

    def words(self, *frameworks: str, epochs: int = 3, seeds: str = "0", **settings: object):
        options = {"models": "lenet5", "threads": 1, "batch-size": 8, "checkpoint-seconds": 0}
        options |= {name.replace("_", "-"): value for name, value in settings.items()}
        given = [f"--{name}={value}" for name, value in options.items()]
        return ["run", f"--frameworks={','.join(frameworks)}", f"--datasets={self.data}",
                f"--epochs={epochs}", f"--seeds={seeds}", f"--out={self.out}", "--no-warm-start",
                "--verbose", *given]  # fmt: skip

    def start(self, words, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, words)],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def bench(self, *words: object, **environment: str) -> tuple[int, str, str]:
        with self.start(words, **environment) as process:
            stdout, stderr = process.communicate(timeout=120)
        return process.returncode, stdout, stderr

    @property
    def folder(self) -> RunFolder:
        return RunFolder.open(self.out)

    def processes(self) -> list[str]:
        """Of this stage that are still running."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(MARK) == self.environment[MARK]
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found

    def assert_no_orphans(self) -> None:
        deadline = time.monotonic() + 2
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left

    def assert_no_temporary_files(self) -> None:
        assert not list(self.out.parent.rglob(".*.partial"))
        assert not list(self.temporary.iterdir())

    def finished(self) -> dict[str, str]:
        """SHA-256 of the files of every finished cell, each of which is read whole."""
        digests = {}
        if not (self.out / "experiment.json").exists():
            return digests
        for result in self.folder.results():
            if result.status == "ok":
                assert self.folder.read_arrays(result.cell) is not None
                for name, path in self.folder.cell_files(result.cell).items():
                    if not name.endswith(".log"):
                        digests[name] = file_sha256(path)
        return digests

    def assert_kept(self, before: dict[str, str]) -> None:
        after = self.finished()
        assert {name: after.get(name) for name in before} == before


@pytest.fixture
def stage(tmp_path, small_file, clean_environment):
    made = Stage(tmp_path, small_file, clean_environment)
    yield made
    for process in psutil.process_iter():  # of a test that failed
        try:
            if process.environ().get(MARK) == made.environment[MARK]:
                process.kill()
        except psutil.Error:
            continue


# --- a worker that goes wrong -----------------------------------------------------------------

WORKER_FAULTS = {
    # framework: status, error, epochs kept, what the end of its log says
    "segfaults": ("failed", "was killed by signal 11 during train_epoch", 1, "the last words"),
    "exceedsmemory": ("failed", "Unable to allocate 8.00 GiB", 1, "MemoryError"),
    "killed": ("failed", "was killed by signal 9 (out of memory?)", 0, None),
    "exits": ("failed", "ended with exit code 7 during train_epoch", 0, None),
    "failsinsecondepoch": ("failed", "RuntimeError: out of luck", 1, "raise RuntimeError"),
    "sleeps": ("timeout", "did not finish train_epoch within 1 s and was ended", 0, None),
    "diverges": ("diverged", "the loss of step 3 of epoch 2 is nan", 1, None),
}


def test_workers_that_go_wrong_leave_the_others_alone(stage):
    """All in one run; the report shows each with the end of its log."""
    names = ("remembers", *WORKER_FAULTS)
    code, _, stderr = stage.bench(*stage.words(*names, timeout="epoch=1"))
    assert code == 1, stderr
    assert "Traceback" not in stderr
    stage.assert_no_orphans()
    stage.assert_no_temporary_files()
    results = {result.cell.framework: result for result in stage.folder.results()}
    assert results.pop("remembers").status == "ok"
    assert results.keys() == WORKER_FAULTS.keys()
    kept = stage.finished()
    assert len(kept) == 3

    assert stage.bench("report", stage.out)[0] == 0
    details = (stage.out / "details.md").read_text(encoding="utf-8")
    failures = details.partition("## Failed cells")[2].partition("\n## ")[0]
    for name, (status, error, epochs, log) in WORKER_FAULTS.items():
        result = results[name]
        assert (result.status, len(result.epochs)) == (status, epochs), name
        assert error in result.error
        (shown,) = (part for part in failures.split("\n\n**") if f"logs/{name}-lenet5" in part)
        assert (log or "Its log is empty.") in shown
    stage.assert_kept(kept)


# --- a disk or folder that cannot be written to -----------------------------------------------

MOUNT = "mount -t tmpfs -o size=32m none {out}"
FAULTS = {
    "full disk": (
        "head -c 40000000 /dev/zero > {out}/filler",
        "rm {out}/filler",
        "No space left on device",
    ),
    "read-only folder": (
        "mount --bind -o ro {out} {out} && mount -o remount,bind,ro {out}",
        "umount {out}",
        "Read-only file system",
    ),
}


@pytest.fixture
def disk(stage):
    """A disk of 32 MB in place of the run's folder."""
    stage.out.mkdir()
    mount = shlex.split(MOUNT.format(out=stage.out))
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    yield stage.out
    while stage.out.is_mount():
        subprocess.run(["umount", "-l", str(stage.out)], check=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_folder_that_can_no_longer_be_written_to(stage, disk, fault):
    """It happens while the second group trains, and is repaired afterwards."""
    cause, repair, message = (text.format(out=disk) for text in FAULTS[fault])
    first = disk / "cells" / "runscommand-lenet5-small-s0.json"
    once = f"{stage.out}.once"
    command = f"if [ -e {first} ] && ! [ -e {once} ]; then touch {once}; {cause}; fi"
    words = stage.words("runscommand", seeds="0,1")
    code, stdout, stderr = stage.bench(*words, PLANTED_COMMAND=command)
    assert (code, stdout) == (2, ""), stderr
    assert "Traceback" not in stderr
    assert re.fullmatch(rf"error: cannot write {disk}/.*: {message}", stderr.splitlines()[-1])
    stage.assert_no_orphans()
    subprocess.run(["sh", "-c", repair], check=True)
    stage.assert_no_temporary_files()
    kept = stage.finished()
    assert len(kept) == 3

    code, _, stderr = stage.bench("report", disk)
    assert code == 0, stderr
    assert "**Not run yet**" in (disk / "report.md").read_text(encoding="utf-8")
    code, _, stderr = stage.bench(*words, "--resume", PLANTED_COMMAND=command)
    assert code == 0, stderr
    stage.assert_kept(kept)
    assert len(stage.finished()) == 6


# --- processes that are ended at random moments -----------------------------------------------

STEP_S = "0.02"
NAMES = ("remembers", "alsoremembers", "sound")  # the last saves no checkpoints
EPOCHS = 6


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small_file, clean_environment):
    """The run that those below must agree with."""
    stage = Stage(tmp_path_factory.mktemp("whole"), small_file, clean_environment)
    code, _, stderr = stage.bench(*stage.words(*NAMES, epochs=EPOCHS, seeds="0,1"))
    assert code == 0, stderr
    return stage.folder


def last_epochs(stderr: str) -> dict[str, int]:
    """By cell, as the lines of ``--verbose`` tell."""
    told = re.findall(rf"\] (\S+-lenet5-small-s\d): epoch (\d+)/{EPOCHS}", stderr)
    return {cell: int(number) for cell, number in told}


def assert_little_is_lost(stage: Stage, stderr: str) -> None:
    """At most one epoch of what trains, as far as it saves checkpoints."""
    if not (stage.out / "experiment.json").exists():
        return
    cells = {cell.id: cell for cell in stage.folder.manifest.cells}
    for name, reached in last_epochs(stderr).items():
        result = stage.folder.read_result(cells[name])
        if not name.startswith("sound") and (result is None or result.status != "ok"):
            saved = max(stage.folder.checkpoints(cells[name]), default=0)
            assert saved >= reached - 1, name


HOW = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGKILL, signal.SIGINT]


def test_a_run_that_is_ended_at_random_moments(stage, uninterrupted):
    """As often as it may be, in the end it has the results of one that was left alone."""
    moments = random.Random(1)
    words = stage.words(*NAMES, epochs=EPOCHS, seeds="0,1")
    ends = list(islice(cycle(HOW), 40 if NIGHTLY else 4))
    hit = 0
    for how in ends:
        resume = ["--resume"] if (stage.out / "experiment.json").exists() else []
        with stage.start([*words, *resume], PLANTED_STEP_S=STEP_S) as process:
            kept = stage.finished()
            time.sleep(moments.uniform(0.8, 5))
            process.send_signal(how)
            _, stderr = process.communicate(timeout=60)
        stage.assert_no_orphans()
        stage.assert_kept(kept)
        assert "Traceback" not in stderr, stderr
        if process.returncode == 0:  # it was faster
            if not NIGHTLY:
                break
            for path in (stage.out / "cells").glob("*s1*"):  # train these again
                path.unlink()
            continue
        hit += 1
        expected = [-how] if how == signal.SIGKILL else [128 + how, -how]  # Python had not begun
        assert process.returncode in expected, stderr
        assert_little_is_lost(stage, stderr)
        if stage.finished():
            render(stage.out)
    assert hit >= (20 if NIGHTLY else 2)
    resume = ["--resume"] if (stage.out / "experiment.json").exists() else []
    code, _, stderr = stage.bench(*words, *resume)
    assert code == 0, stderr
    stage.assert_no_temporary_files()
    assert not list(stage.out.rglob("*checkpoint*"))
    assert_same(uninterrupted, stage.folder)


def kill_a_worker(
    after_s: float, done: threading.Event, killed: list[int], others: set[psutil.Process]
) -> None:
    """Once one is there; the choice is random, and so is the moment. ``others``: of other tests."""
    time.sleep(after_s)
    while not done.is_set():
        here = set(psutil.Process().children()) - others
        workers = [child for child in here if is_worker(child)]
        if workers:
            worker = random.choice(workers)
            worker.kill()
            killed.append(worker.pid)
            return
        time.sleep(0.01)


def is_worker(process: psutil.Process) -> bool:
    try:
        return "harness.execution.worker" in process.cmdline()
    except psutil.Error:
        return False


def test_workers_that_are_killed_at_random_moments(
    planted, small_file, tmp_path, monkeypatch, uninterrupted
):
    monkeypatch.setenv("PLANTED_STEP_S", STEP_S)
    experiment = parse_experiment(
        {
            "frameworks": NAMES,
            "datasets": [str(small_file)],
            "seeds": [0, 1],
            "threads": 1,
            "checkpoint_seconds": 0,
            "warm_start": False,
            "training": {"epochs": EPOCHS, "batch_size": 8},
        },
        where="test",
    )
    out, moments, kept = tmp_path / "run", random.Random(2), {}
    others = set(psutil.Process().children())
    for number in range(20 if NIGHTLY else 2):
        comparison = prepare(experiment, out=out, data_dir=tmp_path, resume=number > 0)
        done, killed = threading.Event(), []
        killer = threading.Thread(
            target=kill_a_worker, args=(moments.uniform(0.2, 3), done, killed, others)
        )
        killer.start()
        results = run(comparison)
        done.set()
        killer.join()
        unharmed = {r.cell: r for r in results if r.status == "ok"}
        for cell, result in kept.items():
            assert unharmed[cell].epochs == result.epochs
        kept = unharmed
        failed = [result for result in results if result.status != "ok"]
        assert len(failed) <= len(killed)
        for result in failed:
            assert "was killed by signal 9" in result.error
            details = render(out).with_name("details.md").read_text(encoding="utf-8")
            assert "## Failed cells" in details
        if not failed:
            for path in (out / "cells").glob("*s1*"):  # train these again
                path.unlink()
            kept = {cell: result for cell, result in kept.items() if cell.seed == 0}
    run(prepare(experiment, out=out, data_dir=tmp_path, resume=True))
    assert not list(out.rglob("*checkpoint*"))
    assert not list(out.rglob(".*.partial"))
    assert_same(uninterrupted, RunFolder.open(out))


# --- two at the same time ---------------------------------------------------------------------


def test_two_runs_in_one_folder(stage):
    words = stage.words("remembers")
    processes = [stage.start(words) for _ in range(2)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    (loser, code), (winner, fine) = sorted(ends, key=lambda end: -end[1])
    assert (code, fine) == (2, 0), (loser, winner)
    assert re.search(r"is in use by process \d+|already holds a run", loser.splitlines()[-1])
    assert len(stage.finished()) == 3
    stage.assert_no_orphans()
    stage.assert_no_temporary_files()


def test_two_runs_are_created_in_one_folder_at_once(stage, planted):
    """As often as they try, one of them is refused."""
    code, _, stderr = stage.bench(*stage.words("sound", epochs=1))
    assert code == 0, stderr
    manifest, environment = stage.folder.manifest, stage.folder.environment
    for number in range(30):
        path, start, outcomes = stage.out / f"{number}", threading.Barrier(2), []

        def create(path=path, start=start, outcomes=outcomes):
            start.wait()
            try:
                outcomes.append(RunFolder.create(path, manifest, environment).path)
            except BenchError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=create) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(path) == 1, outcomes


def test_two_exports_of_one_data_set(tmp_path, clean_environment):
    command = [sys.executable, "-m", "harness", "data", "export", "digits", "--data-dir", tmp_path]
    processes = [
        subprocess.Popen(command, env=clean_environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ends) in ([0, 0], [0, 2]), ends
    assert not any("Traceback" in stderr for stderr, _ in ends)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.h5"]
    assert not [fault for fault in validate(tmp_path / "digits.h5") if fault.severity == "error"]

"""``bench run``: bad input in one line, what a person sees, Ctrl-C and going on after it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from harness.cli import main, progress
from harness.data.writer import write_dataset
from harness.plan import Cell
from harness.results.folder import RunFolder

NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")


def _truncated(path, small_dataset):
    write_dataset(path, small_dataset())
    path.write_bytes(path.read_bytes()[:-200])


def _edited(edit):
    def make(path, small_dataset):
        write_dataset(path, small_dataset())
        with h5py.File(path, "a") as file:
            edit(file)

    return make


def _replace(name, array):
    def edit(file):
        del file[name]
        file[name] = array

    return edit


DATA = {
    "not HDF5": (lambda path, _: path.write_text("name,label\n"), "not an HDF5 file"),
    "empty": (lambda path, _: path.touch(), "is empty (0 bytes)"),
    "a folder": (lambda path, _: path.mkdir(), "is a folder, not an HDF5 file"),
    "absent": (lambda path, _: None, "no such file"),
    "truncated": (_truncated, "truncated HDF5 file"),
    "other HDF5": (lambda path, _: h5py.File(path, "w").close(), "not a data set of this harness"),
    "newer schema": (_edited(lambda file: file.attrs.modify("schema", 2)), "schema version 2, but"),
    "label beyond the classes": (
        _edited(lambda file: file["train/labels"].__setitem__(4, 3)),
        "/train/labels: label 3 at index 4 is out of range",
    ),
    "no images": (
        _edited(_replace("val/images", np.zeros((0, 1, 12, 12), np.uint8))),
        "/val/images: no images",
    ),
    "images of two sizes": (
        _edited(_replace("test/images", np.zeros((12, 1, 14, 12), np.uint8))),
        "/test/images: images are 1x14x12 (CxHxW) but those of /train are 1x12x12",
    ),
    "too small for LeNet-5": (
        lambda path, make: write_dataset(path, make(shape=(1, 12, 11))),
        "needs images of at least 12x12 pixels, these are 12x11",
    ),
}


@pytest.fixture
def refused(planted, monkeypatch, tmp_path):
    """Runs ``bench run`` in this process; returns the one line in which it refuses."""

    def never(*_):
        raise AssertionError("nothing should be trained")

    monkeypatch.setattr("harness.execution.runner.run_group", never)

    def refused(*arguments, out=tmp_path / "run", notes=0):
        words = ["run", "--frameworks", "sound", "--out", out, "--data-dir", tmp_path / "data",
                 "--batch-size", 8]  # fmt: skip
        got = CliRunner().invoke(main, list(map(str, [*words, *arguments])))
        assert got.exit_code == 2, got.output
        assert got.stdout == ""
        *before, line = got.stderr.splitlines()
        assert len(before) == notes
        assert line.startswith("error: ")
        assert not (tmp_path / "run" / "experiment.json").exists()
        return line

    return refused


@pytest.mark.parametrize("kind", DATA)
def test_faulty_data(refused, tmp_path, small_dataset, kind):
    make, message = DATA[kind]
    path = tmp_path / "x.h5"
    make(path, small_dataset)
    line = refused("--datasets", path)
    assert message in line
    assert str(path) in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frameworks", "sount"], "unknown framework 'sount'; did you mean 'sound'?"),
        (["--models", "lenet6"], "unknown model 'lenet6'; did you mean 'lenet5'?"),
        (["--datasets", "digitz"], "digitz"),
        (["--epochs", "0"], "training.epochs: input should be greater than or equal to 1"),
        (["--epochs", "-1"], "training.epochs"),
        (["--epochs", "few"], "training.epochs"),
        (["--batch-size", "0"], "training.batch_size"),
        (["--batch-size", "41"], "batch size 41 is larger than the 40 training images"),
        (["--lr", "nan"], "training.optimizer.learning_rate"),
        (["--threads", "100000"], "threads: is 100000, but this process may use only"),
        (["--seeds", "1,1"], "seeds: names something twice: 1, 1"),
        (["--config", "/no/such/file.toml"], "cannot read the experiment file"),
        (["--resume"], "holds no run (no experiment.json)"),
    ],
)
def test_faulty_options(refused, tmp_path, small_file, arguments, message):
    assert message in refused("--datasets", small_file, *arguments)
    assert not (tmp_path / "run").exists()


def test_faulty_output_folders(refused, tmp_path, small_file):
    (tmp_path / "full").mkdir()
    file = tmp_path / "full" / "precious.txt"
    file.touch()
    data = ("--datasets", small_file)
    assert "is not empty and holds no run" in refused(*data, out=tmp_path / "full")
    assert "is a file" in refused(*data, out=file)
    assert re.search("is a file|cannot write", refused(*data, out=file / "run"))
    assert [entry.name for entry in (tmp_path / "full").iterdir()] == ["precious.txt"]


def test_a_file_in_place_of_the_data_folder(refused, tmp_path):
    (tmp_path / "data").touch()
    assert str(tmp_path / "data") in refused("--datasets", "digits", notes=1)


def test_resume_without_a_folder_is_refused(planted):
    got = CliRunner().invoke(main, ["run", "--resume"])
    assert got.exit_code == 2
    assert got.stderr.startswith("error: --resume continues the run in --out")


@pytest.mark.parametrize("names", ["torch,,jax", "", ","])
def test_a_list_with_nothing_in_it_is_a_usage_error(names):
    got = CliRunner().invoke(main, ["run", "--frameworks", names])
    assert got.exit_code == 2
    assert "separated by commas" in got.stderr


def test_a_run_its_log_lines_and_the_folder_it_leaves(planted_bench, small_file, tmp_path):
    out = tmp_path / "run"
    words = ["run", "--datasets", small_file, "--epochs", 2, "--batch-size", 8, "--out", out]
    done = planted_bench(*words, "--frameworks", "talks,raises,sound", "--seeds", "0,1")
    assert done.returncode == 1, done.stderr  # one framework failed
    *lines, report = done.stderr.splitlines()
    assert re.match(r"6 trainings, about \d+ ", lines[0])
    assert all(re.match(r"\[\d+:\d\d(, about [^]]+ left)?\] \S", line) for line in lines[1:])
    phases = [line.rpartition(": ")[2] for line in lines if "sound-lenet5-small-s0: " in line]
    assert phases[:3] == ["importing", "building", "compiling"]
    assert re.fullmatch(r"import \d+\.\d\d s, first step \d+\.\d\d s", phases[3])
    assert phases[4] == "warming up"
    cells = [line.partition("] ")[2] for line in lines if "; remaining: " in line]
    assert report == f"report: {out / 'report.md'}"
    assert [line.split(":")[0] for line in cells] == [
        f"{name}-lenet5-small-s{seed}"
        for seed, names in ((0, ("raises", "talks", "sound")), (1, ("raises", "sound", "talks")))
        for name in names
    ]
    for left, line in zip(range(5, -1, -1), cells, strict=True):
        assert line.endswith(f"; remaining: {left}")
        what = "FAILED, ValueError: the planted fault" if "raises" in line else "test accuracy 0.33"
        assert what in line
    assert "stray" not in done.stdout + done.stderr
    assert "stray words on stdout" in (out / "logs" / "talks-lenet5-small-s0.log").read_text()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)

    again = planted_bench(*words, "--frameworks", "talks,raises,sound")
    assert again.returncode == 2
    (line,) = again.stderr.splitlines()
    assert line.startswith(f"error: {out} already holds a run: continue it with --resume, or")


def test_a_framework_that_is_not_installed(planted_bench, small_file, tmp_path):
    out = tmp_path / "run"
    words = ["run", "--frameworks", "absent,sound", "--datasets", small_file, "--epochs", 1,
             "--batch-size", 8, "--out", out]  # fmt: skip
    refused = planted_bench(*words)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: framework 'absent' not installed: no_such_package_anywhere")
    assert not out.exists()

    done = planted_bench(*words, "--skip-unavailable")
    assert done.returncode == 0, done.stderr
    warning, *_ = done.stderr.splitlines()
    assert warning.startswith("warning: going on without 'absent': not installed")
    assert list(RunFolder.open(out).manifest.skipped) == ["absent"]


def test_what_a_person_can_mend_ends_the_run_in_one_line(planted_bench, small_file, tmp_path):
    done = planted_bench(
        "run", "--frameworks", "usererror,sound", "--datasets", small_file, "--batch-size", 8,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: something a person can fix"


def test_progress_on_a_terminal(small_file, tmp_path, clean_environment):
    terminal, theirs = pty.openpty()
    script = Path(__file__).parents[1] / "execution" / "planted_bench.py"
    words = ["run", "--frameworks", "sound", "--datasets", small_file, "--epochs", 3,
             "--batch-size", 8, "--verbose", "--out", tmp_path / "run"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, words)],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env=clean_environment | {"TERM": "xterm", "COLUMNS": "160"},
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()
    try:
        while block := os.read(terminal, 65536):
            shown += block
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(terminal)
    assert process.wait(60) == 0, shown.decode()
    text = shown.decode()
    assert "\x1b[" in text
    assert "epoch 3/3" in text  # --verbose: a short epoch may not be drawn otherwise
    assert re.search(r"3/3\S* epochs", text)
    assert "sound-lenet5-small-s0: test accuracy 0.3333" in text
    assert "passed" not in text  # nothing of pytest's own


def test_a_dry_run_trains_and_writes_nothing(planted_bench, small_file, tmp_path):
    words = ["run", "--frameworks", "sound,talks", "--datasets", small_file, "--batch-size", 8,
             "--seeds", "0,1,2", "--out", tmp_path / "run", "--dry-run"]  # fmt: skip
    shown = planted_bench(*words)
    assert shown.returncode == 0, shown.stderr
    heading, *rows = shown.stdout.splitlines()
    assert heading.split()[:4] == ["framework", "model", "dataset", "trainings"]
    assert [row.split()[:4] for row in rows] == [
        [name, "lenet5", "small", "3"] for name in ("sound", "talks")
    ]
    assert "6 trainings, about " in shown.stderr
    assert "bench run --frameworks sound,talks" in shown.stderr
    assert not (tmp_path / "run").exists()
    as_json = json.loads(planted_bench(*words, "--json").stdout)
    assert [(row["framework"], row["trainings"]) for row in as_json] == [("sound", 3), ("talks", 3)]


def test_quiet_leaves_the_result_and_json_is_for_programs(planted_bench, small_file, tmp_path):
    words = ["run", "--frameworks", "sound,raises", "--datasets", small_file, "--epochs", 1,
             "--batch-size", 8, "--no-warm-start"]  # fmt: skip
    quiet = planted_bench(*words, "--out", tmp_path / "a", "--quiet", "--json")
    assert (quiet.returncode, quiet.stderr) == (1, "")
    sound, raises = json.loads(quiet.stdout)
    assert (sound["status"], sound["error"]) == ("ok", None)
    assert 0.3 < sound["accuracy"] < 0.4
    assert (raises["status"], raises["accuracy"]) == ("failed", None)
    loud = planted_bench(*words, "--out", tmp_path / "b", "--verbose")
    assert "sound-lenet5-small-s0: epoch 1/1, loss" in loud.stderr


def test_a_log_is_never_silent_for_long(planted, small_file, monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_S", 0.5)
    cell = Cell(framework="sound", model="lenet5", dataset="small", seed=0)
    lines = progress.LogLines({cell: {"training": 3}}, epochs=3)
    with lines.display():
        lines.phase_started(cell, "compiling")
        time.sleep(2.5)
    told = capsys.readouterr().err.splitlines()
    assert 2 <= len(told) <= 4
    assert all("sound-lenet5-small-s0: compiling" in line for line in told)


def test_ctrl_c_keeps_what_is_finished_and_resume_completes_it(
    planted_bench, small_file, tmp_path, clean_environment
):
    out = tmp_path / "run"
    first, second = (out / "cells" / f"hangswithfile-lenet5-small-s{seed}.json" for seed in (0, 1))
    words = ["run", "--frameworks", "hangswithfile,sound", "--datasets", small_file,
             "--epochs", 1, "--batch-size", 8, "--seeds", "0,1", "--out", out]  # fmt: skip
    script = Path(__file__).parents[1] / "execution" / "planted_bench.py"
    # The second group hangs, because the result of the first is there.
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, words)],
        env=clean_environment | {"PLANTED_FILE": str(first), "PLANTED_GRACE": "0.5"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # A shell's background jobs ignore Ctrl-C, and so would this child of theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    log = out / "logs" / "hangswithfile-lenet5-small-s1.log"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    last = stderr.splitlines()[-1]
    assert last == (
        f"error: interrupted; finished cells are kept and reported in {out / 'report.md'}: "
        f"add --resume --out {out} to resume"
    )
    assert "Traceback" not in stderr
    assert [result.cell.seed for result in RunFolder.open(out).results()] == [0, 0]
    assert not second.exists()
    kept = first.read_bytes()

    done = planted_bench(*words, "--resume", PLANTED_FILE=str(tmp_path / "absent"))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "; remaining: " in line]
    assert [("kept from before" in line) for line in lines[:4]] == [True, True, False, False]
    assert first.read_bytes() == kept
    assert len(RunFolder.open(out).results()) == 4
    assert (out / "report.md").exists()


SCRIPT = Path(__file__).parents[1] / "execution" / "planted_bench.py"


@pytest.fixture
def background(clean_environment):
    """Starts commands as leaders of a session; whatever still runs in the end is killed."""
    processes = []

    def start(command, environment, **options):
        process = subprocess.Popen(
            list(map(str, command)),
            env=clean_environment | environment,
            start_new_session=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is there")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=NIGHTLY),
        pytest.param(signal.SIGHUP, marks=NIGHTLY),
    ],
)
def test_a_signal_in_an_extra_loses_no_training(
    number, planted_bench, background, small_file, tmp_path
):
    """Even where the process that measures the machine is stopped."""
    out, flag = tmp_path / "run", tmp_path / "flag"
    words = ["run", "--frameworks", "hangsinextras,sound", "--datasets", small_file,
             "--epochs", 1, "--batch-size", 8, "--inference", 4, "--out", out]  # fmt: skip
    process = background(
        [sys.executable, SCRIPT, *words],
        {"PLANTED_FILE": str(flag)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would this child of theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "experiment.json").exists() and len(RunFolder.open(out).results()) == 2:
            break
        time.sleep(0.05)
    time.sleep(0.5)
    if number == signal.SIGTERM:  # once is enough
        again = planted_bench(*words, "--resume", PLANTED_FILE=str(flag))
        assert (again.returncode, again.stdout) == (2, "")
        assert again.stderr == (
            f"error: {out} is in use by process {process.pid}: wait for it to end, or end it\n"
        )
    children = psutil.Process(process.pid).children(recursive=True)
    (probe,) = [child for child in children if "harness.measure.probe" in child.cmdline()]
    probe.suspend()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    report = out / "report.md"
    assert stderr.splitlines()[-1] == (
        f"error: {what}; finished cells are kept and reported in {report}: "
        f"add --resume --out {out} to resume"
    )
    assert "**Without inference**" in report.read_text(encoding="utf-8")
    assert not psutil.wait_procs(children, timeout=20)[1], "nothing is left running"
    before = [result.epochs for result in RunFolder.open(out).results()]
    if number != signal.SIGTERM:
        return

    flag.touch()
    done = planted_bench(*words, "--resume", PLANTED_FILE=str(flag))
    assert done.returncode == 0, done.stderr
    results = RunFolder.open(out).results()
    assert [result.epochs for result in results] == before
    assert [bool(result.unfinished) for result in results] == [False, False]
    assert "**Without" not in report.read_text(encoding="utf-8")


def test_ctrl_c_before_there_is_a_run(planted, monkeypatch, small_file, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.execution.runner.prepare", interrupt)
    words = ["run", "--datasets", small_file, "--out", tmp_path / "run"]
    got = CliRunner().invoke(main, list(map(str, words)))
    assert (got.exit_code, got.stderr) == (130, "error: interrupted\n")


def test_a_hangup_with_its_terminal_gone(background, small_file, tmp_path):
    """Nothing can be printed any more, and that is no error."""
    out = tmp_path / "run"
    terminal, theirs = pty.openpty()
    words = ["run", "--frameworks", "hangsinextras", "--datasets", small_file, "--epochs", 1,
             "--batch-size", 8, "--inference", 4, "--out", out]  # fmt: skip
    process = background(
        [sys.executable, "-c", LEADER, SCRIPT, *words],
        {"TERM": "xterm", "PLANTED_FILE": str(tmp_path / "flag")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    deadline = time.monotonic() + 60
    while not list(out.glob("cells/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(terminal)  # and with it, the terminal is gone
    assert process.wait(60) == 128 + signal.SIGHUP
    assert (out / "report.md").exists()


# Takes its standard input for its controlling terminal, as a shell's jobs have it.
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_training_that_diverged_is_said_first(planted_bench, small_file, tmp_path):
    out = tmp_path / "run"
    done = planted_bench(
        "run", "--frameworks", "sound,diverges", "--datasets", small_file, "--batch-size", 8,
        "--epochs", 2, "--out", out,
    )  # fmt: skip
    assert done.returncode == 1
    assert "diverges-lenet5-small-s0: DIVERGED, the loss of step 3 of epoch 2 is nan" in done.stderr
    assert done.stdout.startswith("Diverged: Diverges diverged with seed 0 and is not ranked")
    _, _, verdict, *rest = (out / "report.md").read_text(encoding="utf-8").splitlines()
    assert "**Diverges diverged** with seed 0 and is not ranked there." in verdict
    assert not any("trained fastest" in line for line in rest)
    assert any("**Diverged**: Diverges, " in line for line in rest)
    stored = planted_bench("baseline", "update", out, "--baseline", tmp_path / "baseline.json")
    assert stored.returncode == 2
    assert "has no accuracy (diverged: the loss of step 3 of epoch 2 is nan)" in stored.stderr
    assert not (tmp_path / "baseline.json").exists()


def test_what_is_timed_besides_training(planted_bench, small_file, tmp_path):
    out = tmp_path / "run"
    got = planted_bench(
        "run", "--frameworks", "sound,talks", "--datasets", small_file, "--batch-size", 8,
        "--epochs", 2, "--rounds", 7, "--inference", "--profile", "--target", 0.3, "--out", out,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    details = (out / "details.md").read_text(encoding="utf-8")
    for title in ("Time to accuracy", "Inference: throughput and latency", "Hardware utilisation"):
        assert f"\n## {title}\n" in details
    assert "| batch 1 | batch 4 |" in details
    assert "| batch 512 |" in details
    command = details.split("To reproduce the run:")[1]
    for words in ("--rounds 7", "--target 0.3", "--inference 1,4,16,64,256,512"):
        assert words in command
    assert "--profile" in command
    result = json.loads((out / "cells/sound-lenet5-small-s0.json").read_text())
    assert len(result["epochs"]) + len(result["extra_rounds"]) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rounds", "-1"), "rounds: input should be greater than or equal to 0"),
        (("--target", "1.5"), "target: input should be less than or equal to 1"),
        (("--inference", "8,8"), "inference: names something twice: 8, 8"),
        (("--inference", "0"), "inference.0: input should be greater than or equal to 1"),
    ],
)
def test_faulty_timings(refused, small_file, arguments, message):
    assert message in refused("--datasets", small_file, *arguments)


def test_plugins_of_the_person_s_own_pytest_stay_out(planted_bench, small_file, tmp_path):
    done = planted_bench(
        "run", "--frameworks", "sound", "--datasets", small_file, "--epochs", 1,
        "--batch-size", 8, "--out", tmp_path / "run", PYTEST_PLUGINS="no_such_plugin",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

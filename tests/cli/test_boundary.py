"""Where the command ends: one line and an exit code, whatever happens outside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.data.reader import open_dataset

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
BENCH = f"{sys.executable} -m harness"


@pytest.fixture
def shell(clean_environment):
    """Runs a line of shell, in which ``bench`` is the command."""

    def run(line: str, **more: str) -> subprocess.CompletedProcess[str]:
        line = f'bench() {{ {BENCH} "$@"; }}; {line}'
        return subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=clean_environment | more,
            timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("verb", ["data list", "--version"])
def test_a_full_stdout_is_one_line(shell, verb):
    done = shell(f"bench {verb} > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize("closing", [">&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_are_no_reason_to_fail(shell, tmp_path, closing):
    """And their numbers are not given to data files."""
    done = shell(f"bench data export digits --data-dir {tmp_path} {closing}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    with open_dataset(tmp_path / "digits.h5") as data:
        assert data.name == "digits"


def test_a_reader_that_leaves_is_not_told(shell):
    # More than the buffer of a pipe, so that somebody is surely still writing.
    done = shell("bench data list | true; echo ${PIPESTATUS[0]}")
    assert done.stderr == ""
    assert done.stdout in ("141\n", "0\n")
    late = shell("(bench run --help; echo $? >&2) | (exec <&-; sleep 3)")
    assert late.stderr == "141\n"


def test_names_that_are_no_text(shell, tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.h5")).write_text("no data")
    done = shell(f"bench data list --data-dir {tmp_path}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9" in done.stdout


@pytest.mark.parametrize(
    "words",
    [["check", "RUN", "--baseline", "PIPE"], ["run", "--config", "PIPE"]],
    ids=["check", "run"],
)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line(words, number, made_up, tmp_path, clean_environment):
    """The command waits for a pipe into which nobody writes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    known = {"RUN": str(made_up()), "PIPE": str(pipe)}
    with started([known.get(word, word) for word in words], clean_environment) as process:
        writer = os.open(pipe, os.O_WRONLY)  # waits for the reader, so it has come that far
        time.sleep(0.2)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=10)
        os.close(writer)
    word = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert (process.returncode, stdout, stderr) == (128 + number, "", f"error: {word}\n")


@pytest.mark.parametrize("delay", [0.12, 0.25, 0.4])
def test_a_signal_while_modules_are_imported(delay, clean_environment, tmp_path):
    with started(
        ["data", "export", "digits", "--data-dir", tmp_path], clean_environment
    ) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    if process.returncode != -signal.SIGINT:  # Python itself had not begun
        assert (process.returncode, stderr.splitlines()[-1:]) in [
            (130, ["error: interrupted"]),
            (0, []),
        ]
    assert "Traceback" not in stderr
    assert [path.name for path in tmp_path.iterdir()] in ([], ["digits.h5"])


def test_an_ignored_signal_stays_ignored(clean_environment, tmp_path):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    words = ["data", "export", "digits", "--data-dir", tmp_path]
    with started(words, clean_environment, ignore) as process:
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.02)
    assert process.returncode == 0


def test_an_error_of_the_system_is_one_line(verb, tmp_path):
    name = "n" * 300
    (tmp_path / "file").write_text("no data")
    for words in (
        ["data", "info", f"{tmp_path}/{name}.h5"],
        ["data", "export", name],
        ["data", "export", "digits", "--data-dir", tmp_path / name],
        ["data", "export", "digits", "--data-dir", tmp_path / "file" / "folder"],
        ["report", tmp_path / name],
        ["run", "--out", tmp_path / name],
        ["run", "--out", tmp_path / "file" / "folder"],
        ["run", "--config", tmp_path / name],
        ["check", tmp_path / name, "--baseline", tmp_path / name],
        ["baseline", "show", tmp_path / name],
        ["weights", "import", tmp_path / name, "--model", "resnet18"],
    ):
        got = verb(*words)
        assert got.exit_code == 2, (words, got.output)
        assert got.stderr.startswith("error: ")
        assert len(got.stderr.splitlines()) == 1


def started(words, environment, before=lambda: None):
    def prepare():
        for number in SIGNALS:  # of a shell's background job they may be ignored
            signal.signal(number, signal.SIG_DFL)
        before()

    return subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, words)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=prepare,
    )  # fmt: skip

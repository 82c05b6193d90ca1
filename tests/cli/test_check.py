"""``bench check``: the gate fails for what is surely worse, and for nothing else."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def check(made_up, verb, tmp_path):
    """Checks a run against baselines of three like it; exit code and one line a framework."""
    path = tmp_path / "baselines.json"
    runs = [
        made_up(f"base{n}", seeds=(n,), created=f"2001-01-0{n + 1}T00:00:00+00:00")
        for n in range(3)
    ]
    assert verb("baseline", "update", *runs, "--baseline", path).exit_code == 0

    def check(*words, **how):
        got = verb("check", made_up(**how), "--baseline", path, *words)
        lines = {line.split("/")[0].split(": ")[1]: line for line in got.stdout.splitlines()}
        return got, lines

    return check


def test_a_run_like_the_others_passes(check):
    got, lines = check()
    assert got.exit_code == 0, got.output
    assert list(lines) == ["swift", "tidy"]
    assert lines["swift"].startswith("ok: swift/lenet5/digits: accuracy 0.")
    assert "times the baseline's (1 start against 3 in 3 runs)" in lines["swift"]
    assert got.stderr == ""


def test_as_json(made_up, verb, tmp_path):
    path = tmp_path / "baselines.json"
    run = made_up("one")
    assert verb("baseline", "update", run, "--baseline", path).exit_code == 0
    got = verb("check", run, "--baseline", path, "--json")
    assert got.exit_code == 0, got.output
    rows = json.loads(got.stdout)
    keys = ["framework", "model", "dataset", "status", "metrics", "speed_ratio", "message"]
    assert [list(row) for row in rows] == [keys] * 2
    assert [(row["framework"], row["model"], row["dataset"]) for row in rows] == [
        ("swift", "lenet5", "digits"), ("tidy", "lenet5", "digits"),
    ]  # fmt: skip
    assert {row["status"] for row in rows} == {"passed"}
    assert all("accuracy" in row["metrics"] and row["message"] for row in rows)


def test_a_slower_framework_fails_and_a_slower_machine_does_not(check):
    got, lines = check(rate={"swift": 500.0, "tidy": 1000.0})
    assert got.exit_code == 1
    assert lines["swift"].startswith("FAILED: ")
    assert "slower by more than a factor of 1.02" in lines["swift"]
    assert lines["tidy"].startswith("ok: ")
    assert "1 of 2 variants failed" in got.stderr
    assert check(name="busy", rate=500.0, gemm=25.0)[0].exit_code == 0


def test_nobody_is_called_slower_beside_other_work(check):
    got, lines = check(name="beside", rate=500.0, other_load=0.4)
    assert got.exit_code == 0
    assert "not checked: speed" in lines["swift"]
    assert "not checked: speed: other work used 0.4 of 1 cores" in lines["swift"]
    # Nor is it called fast enough: what was measured then says nothing.
    got, lines = check(name="fast", rate=1000.0, other_load=0.4)
    assert "times the baseline's" not in lines["swift"]
    assert check("--strict", name="strict", rate=500.0, other_load=0.4)[0].exit_code == 1
    assert check(name="alone", rate=500.0, other_load=0.1)[0].exit_code == 1


def test_the_slowdown_that_passes_can_be_chosen(check):
    slower = {"rate": 800.0}  # 1.25 times as slow
    assert check("--max-slowdown", "1.3", name="a", **slower)[0].exit_code == 0
    assert check(name="b", **slower)[0].exit_code == 1
    got, lines = check("--max-slowdown", "3", name="c", rate=500.0)
    assert got.exit_code == 0
    assert lines["swift"].startswith("ok: ")
    assert "speed 0.5" in lines["swift"]
    assert check("--max-slowdown", "0.9", name="d")[0].exit_code == 2


def test_faster_is_a_hint(check):
    got, lines = check(rate=2000.0)
    assert got.exit_code == 0
    assert "faster than the baseline: store this one" in lines["swift"]


def test_less_accurate_fails_unless_only_speed_is_asked_for(check):
    got, lines = check(name="bad", quality=0.0)
    assert got.exit_code == 1
    assert "accuracy 0.2900 is below the expected" in lines["swift"]
    assert check("--only", "speed", name="worse", quality=0.0)[0].exit_code == 0


def test_only_accuracy(check):
    got, lines = check("--only", "accuracy", rate=100.0)
    assert got.exit_code == 0
    assert "speed" not in lines["swift"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"failed": ["tidy"]}, "tidy-lenet5-digits-s0 failed: out of luck"),
        ({"missing": ["tidy"]}, "tidy-lenet5-digits-s0 has not run"),
    ],
)
def test_what_did_not_train_fails(check, how, message):
    got, lines = check("--only", "speed", **how)
    assert got.exit_code == 1
    assert message in lines["tidy"]
    assert lines["swift"].startswith("ok: ")


@pytest.mark.parametrize(
    ("how", "framework", "message"),
    [
        ({"frameworks": ("swift", "new")}, "new", "no baseline"),
        ({"cpu": "another"}, "swift", "the baseline has none for another, cpu, 1 threads"),
        ({"gemm": None}, "swift", "no matrix products"),
        ({"noise": 1.0}, "swift", "too uncertain to notice"),
        (
            {"frameworks": ("swift",), "skipped": {"tidy": "not installed"}},
            "tidy",
            "skipped by the run: not installed",
        ),
    ],
)
def test_what_cannot_be_judged_is_named_and_fails_only_when_strict(check, how, framework, message):
    got, lines = check(name="run", **how)
    assert got.exit_code == 0, got.output
    assert "not checked: " in lines[framework]
    assert message in lines[framework]
    got, lines = check("--strict", name="again", **how)
    assert got.exit_code == 1
    assert lines[framework].startswith("FAILED: ")


def test_another_training_says_nothing_of_the_baseline(check):
    got, _ = check(batch_size=32)
    assert (got.exit_code, got.stdout) == (2, "")
    assert "trained differently from its baseline: batch_size 32, there 64" in got.stderr


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0.5", "x"])
def test_a_slowdown_that_would_let_everything_pass(check, value):
    got, _ = check("--max-slowdown", value, rate=100.0)
    assert got.exit_code == 2
    assert "Invalid value for '--max-slowdown'" in got.stderr

"""``bench baseline``: runs add up, and what trained otherwise is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.baseline import read_baselines

STORED = Path(__file__).parents[1] / "regression" / "baselines.json"


@pytest.fixture
def update(verb, tmp_path):
    """Takes runs into a file; the result and what the file then holds, by framework."""
    path = tmp_path / "baselines.json"

    def update(*words):
        got = verb("baseline", "update", *words, "--baseline", path)
        stored = read_baselines(path) if path.exists() else []
        return got, {each.framework: each for each in stored}

    return update


def test_seeds_and_runs_add_up(made_up, update):
    runs = [
        made_up("one", seeds=(0, 1)),
        made_up("two", seeds=(1, 2), created="2001-03-03T00:00:00+00:00", frameworks=("swift",)),
    ]
    got, stored = update(runs[0])
    assert got.exit_code == 0, got.output
    first = stored["swift"]
    assert (sorted(first.correct), len(first.speed)) == ([0, 1], 1)
    assert first.speed[0].images_per_gflop == pytest.approx(1000 / 50, rel=0.02)
    assert first.speed[0].rounds == 24
    got, stored = update(runs[1])
    assert "1 variants updated, 2 in all" in got.stderr
    assert sorted(stored["swift"].correct) == [0, 1, 2]
    assert [each.run for each in stored["swift"].speed] == [
        "2001-02-03T04:05:06+00:00", "2001-03-03T00:00:00+00:00",
    ]  # fmt: skip
    assert sorted(stored["tidy"].correct) == [0, 1]
    # The same run again changes nothing; both at once give the same file.
    assert update(runs[1])[1] == stored
    assert update(*runs)[1] == stored


def test_speeds_need_rounds_and_matrix_products(made_up, update):
    for name, how in (("few", {"epochs": 5}), ("old", {"gemm": None})):
        got, stored = update(made_up(name, **how), "--replace")
        assert got.exit_code == 0, got.output
        assert stored["swift"].speed == ()
        assert "swift/lenet5/digits: no speed" in got.stderr


def test_what_trained_otherwise_is_refused_or_replaces(made_up, update):
    _, before = update(made_up("one", frameworks=("swift", "tidy")))
    other = made_up("other", frameworks=("tidy",), batch_size=32)
    got, stored = update(other)
    assert got.exit_code == 2
    assert "tidy/lenet5/digits: trained differently from what is stored" in got.stderr
    assert stored == before
    got, stored = update(other, "--replace")
    assert got.exit_code == 0, got.output
    assert stored["tidy"].training.batch_size == 32
    assert len(stored["tidy"].speed) == 1
    assert stored["swift"] == before["swift"]


def test_an_unfinished_run_and_a_damaged_file_are_refused(made_up, update, tmp_path):
    got, stored = update(made_up("one", failed=["tidy"]))
    assert (got.exit_code, stored) == (2, {})
    assert "tidy-lenet5-digits-s0 has no accuracy" in got.stderr
    (tmp_path / "baselines.json").write_text("{}")
    run = made_up("two")
    with pytest.raises(Exception, match="cannot read baselines"):
        update(run)
    assert (tmp_path / "baselines.json").read_text() == "{}"


def test_show(made_up, update, verb, tmp_path):
    update(made_up("one", classes=("ill", "well")))
    got = verb("baseline", "show", tmp_path / "baselines.json")
    heading, row, _ = got.stdout.splitlines()
    assert heading.split()[:4] == ["framework", "model", "data", "set"]
    assert row.split()[:4] == ["swift", "lenet5", "digits", "1"]
    assert row.split()[-3:] == ["1", "1", "1"]
    # Those of the tests are from before speeds were stored, and are read all the same.
    got = verb("baseline", "show", STORED)
    assert len(got.stdout.splitlines()) == 1 + len(read_baselines(STORED))
    assert " -0" not in got.stdout
    assert "1.0" not in got.stdout.replace("1.0000", "")


def test_a_speed_beside_other_work_is_stored_only_when_accepted(made_up, update):
    busy = made_up("busy", other_load=0.4)
    got, stored = update(busy)
    assert got.exit_code == 0, got.output
    assert "no speed stored, because other work used 0.4 of 1 cores" in got.stderr
    assert (stored["swift"].speed, sorted(stored["swift"].correct)) == ((), [0])
    got, stored = update(busy, "--accept-disturbed")
    assert len(stored["swift"].speed) == 1
    assert "no speed stored" not in got.stderr


def test_every_fresh_start_is_stored(made_up, update):
    _, stored = update(made_up("one", seeds=(0, 1, 2)))
    (speed,) = stored["swift"].speed
    assert len(speed.starts) == 3
    assert speed.images_per_gflop == pytest.approx(np.exp(np.mean(np.log(speed.starts))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row | {"correct": {}}, "0.correct: "),
        (lambda row: row | {"correct": {"0": -1}}, "0.correct.0: "),
        (lambda row: row | {"correct": {"0": 10**6}}, "images are correct"),
        (lambda row: row | {"examples": 0}, "0.examples: "),
        (lambda row: row | {"auroc": {"0": 2}}, "0.auroc.0: "),
        (lambda row: row | {"auroc_error": "NaN"}, "0.auroc_error: "),
        (lambda row: row | {"speed": [row["speed"][0] | {"gemm_gflops": 0}]}, "gemm_gflops: "),
        (lambda row: row | {"speed": [row["speed"][0] | {"images_per_gflop": "NaN"}]}, "gflop: "),
        (lambda row: row | {"speed": {}}, "0.speed: "),
        (lambda row: [row], "0: "),
    ],
)
def test_a_file_that_cannot_be(made_up, update, verb, tmp_path, change, message):
    update(made_up())
    path = tmp_path / "baselines.json"
    rows = json.loads(path.read_text())
    for content in (json.dumps([change(rows[0]), *rows[1:]]), json.dumps({"a": 3}), "[" * 10**5):
        path.write_text(content)
        got = verb("baseline", "show", path)
        assert got.exit_code == 2, got.output
        assert got.stderr.startswith(f"error: {path}: cannot read baselines: ")
        assert len(got.stderr.splitlines()) == 1
        assert message in got.stderr or not content.startswith("[{")
    path.write_text(json.dumps([*rows, rows[0]]))
    assert "is stored 2 times" in verb("baseline", "show", path).stderr

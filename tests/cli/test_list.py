"""``bench list``, ``--json`` and misspelt verbs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.backends.spec import KnownProblem


def test_frameworks(verb, planted):
    table = verb("list", "frameworks").output.splitlines()
    assert table[0].split()[:3] == ["name", "ready", "role"]
    rows = {row["name"]: row for row in json.loads(verb("list", "frameworks", "--json").output)}
    assert len(rows) == len(table) - 1 == len(planted)
    assert (rows["sound"]["ready"], rows["absent"]["ready"]) == (True, False)


def test_models(verb):
    rows = json.loads(verb("list", "models", "--json").output)
    lenet = next(row for row in rows if row["name"] == "lenet5")
    assert {"torch", "jax", "knet"} <= {*lenet["frameworks"]}
    assert lenet["parameters"] > 60_000


def test_datasets_are_those_of_data_list(verb, tmp_path):
    here = json.loads(verb("list", "datasets", "--data-dir", tmp_path, "--json").output)
    there = verb("data", "list", "--data-dir", tmp_path, "--json").stdout
    assert here == json.loads(there)
    assert "digits" in {row["name"] for row in here}


def test_runs_the_latest_first(verb, made_up, tmp_path):
    made_up("old", failed=["tidy"])
    made_up("new", created="2002-02-03T04:05:06+00:00")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.json").write_text("{")
    new, old, broken = json.loads(verb("list", "runs", tmp_path, "--json").output)
    assert [new["run"], old["run"]] == [str(tmp_path / "new"), str(tmp_path / "old")]
    assert (new["state"], old["state"]) == ("2 of 2 trained", "1 of 2 trained, 1 failed")
    assert broken["state"].startswith("damaged: ")
    assert verb("list", "runs", tmp_path / "nothing").exit_code == 0


def test_a_misspelt_verb_or_option_is_guessed(verb):
    assert "No such command 'rnu'. Did you mean 'run'?" in verb("rnu").output
    assert "Did you mean" in verb("run", "--epoch", 3).output
    assert "Did you mean 'list'?" in verb("data", "lst").output


@pytest.mark.parametrize(
    ("words", "position", "completed"),
    [
        ("bench ru", 1, "run"),
        ("bench run --batch", 2, "--batch-size"),
        ("bench list mo", 2, "models"),
    ],
)
def test_the_shell_completes(python, words, position, completed):
    code = "from harness.cli import main; main(prog_name='bench')"
    done = python(
        "-c", code, _BENCH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position)
    )
    assert f"plain,{completed}\n" in done.stdout, done.stderr


def test_doctor_names_known_problems(verb, planted, monkeypatch):
    problem = KnownProblem("numpy", ("2.0",), "2.0 is a planted problem")
    faulty = replace(
        planted["sound"],
        known_problems=(problem, replace(problem, versions=("1.0",), what="1.0 is another")),
        further_versions=lambda: {"numpy": "2.0"},
    )
    monkeypatch.setitem(planted, "sound", faulty)
    got = verb("doctor", "--frameworks", "sound", "--json")
    assert "warning: planted: numpy 2.0 is a planted problem" in got.stderr
    assert "another" not in got.stderr
    (row,) = json.loads(got.stdout)
    assert (row["framework"], row["ready"], row["versions"]) == ("sound", True, ["numpy 2.0"])

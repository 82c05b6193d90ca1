"""Parts of an experiment that are run by themselves, and merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.analysis.paired import paired_starts
from harness.analysis.run import Run
from harness.cli import main
from harness.config import parse_experiment
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.execution.runner import prepare, run
from harness.plan import Shard
from harness.results.folder import RunFolder
from harness.results.merge import merge

TIMES = {
    "started", "session", "phases", "warm_up", "seconds", "evaluate_s", "conditions", "repeats",
    "disturbed", "peak_rss_bytes", "pid", "CPUs", "CPUs at import",
    "warm_start",
}  # fmt: skip
"""What differs between two runs of one experiment."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, set[str]]:
    """Runs that tests copy: where, and which there are."""
    return tmp_path_factory.mktemp("made"), set()


@pytest.fixture
def sharded(planted, small_file, tmp_path, made):
    """Runs the experiment, or a shard of it, into a folder of that name.

    A run of the same name and shard is made once.
    """
    folder, known = made

    def make(name: str, shard: str | None = None, *, data: Path = small_file) -> Path:
        key = f"{name} {shard}".replace("/", " ")
        if key not in known:
            train(folder / key, shard, data)
            known.add(key)
        shutil.copytree(folder / key, tmp_path / name)
        return tmp_path / name

    def train(out: Path, shard: str | None, data: Path) -> None:
        experiment = parse_experiment(
            {"frameworks": ["sound", "countssteps"], "datasets": [str(data)], "seeds": [0, 1, 2],
             "threads": 1, "warm_start": False, "training": {"batch_size": 8, "epochs": 2}},
            where="test",
        )  # fmt: skip
        part = None if shard is None else Shard.parse(shard)
        run(prepare(experiment, out=out, data_dir=folder, shard=part))

    return make


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in TIMES}
    return list(map(without_times, value)) if isinstance(value, list) else value


def stored(path: Path) -> dict[str, object]:
    """The results of a run but for times, and the bytes of its arrays and weights."""
    found: dict[str, object] = {}
    for file in sorted((path / "cells").iterdir()):
        content = file.read_bytes()
        found[file.name] = without_times(json.loads(content)) if file.suffix == ".json" else content
    return found


def test_two_shards_merged_equal_the_whole_run_except_for_times(sharded, tmp_path):
    whole, first, second = sharded("whole"), sharded("first", "1/2"), sharded("second", "2/2")
    for path, seeds in ((first, [0, 2]), (second, [1])):
        manifest = RunFolder.open(path).manifest
        assert manifest.cells == RunFolder.open(whole).manifest.cells
        assert [result.cell.seed for result in RunFolder.open(path).results()] == [
            seed for seed in seeds for _ in range(2)
        ]
        # A shard lacks nothing once its own cells are trained.
        read = Run.read(RunFolder.open(path))
        assert read.planned == read.with_result == 2 * len(seeds)
    merged = merge([first, second], tmp_path / "merged")
    assert stored(merged.path) == stored(whole)
    assert {path.name for path in (merged.path / "logs").iterdir()} == {
        path.name for path in (whole / "logs").iterdir()
    }
    assert merged.manifest.model_copy(update={"created": ""}) == RunFolder.open(
        whole
    ).manifest.model_copy(update={"created": ""})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_shard_is_resumed_as_that_shard_only(sharded, small_file, tmp_path):
    first = sharded("first", "1/2")
    folder = RunFolder.open(first)
    lost = folder.manifest.own_cells[-1]
    (first / "cells" / f"{lost.id}.json").unlink()
    experiment = folder.manifest.experiment
    options = {"out": first, "data_dir": tmp_path, "resume": True}
    for other in (None, Shard(index=2, count=2)):
        with pytest.raises(BenchError, match="holds a run with another shard"):
            prepare(experiment, shard=other, **options)
    run(prepare(experiment, shard=Shard(index=1, count=2), **options))
    assert len(folder.results()) == 4
    assert len(folder.environments) == 2


def on_machine(path: Path, cpu: str) -> None:
    """As if the run had been made on a processor called ``cpu``."""
    file = path / "environments.json"
    recorded = json.loads(file.read_bytes())
    file.write_text(json.dumps({name: each | {"cpu": cpu} for name, each in recorded.items()}))
    first = json.loads((path / "environment.json").read_bytes())
    (path / "environment.json").write_text(json.dumps(first | {"cpu": cpu}))


def test_speeds_are_paired_within_a_machine_only_and_shown_for_each(sharded, tmp_path):
    first, second = sharded("first", "1/2"), sharded("second", "2/2")
    on_machine(first, "Swift 1")
    on_machine(second, "Tidy 2")
    merged = merge([first, second], tmp_path / "merged")
    assert {each["cpu"] for each in merged.environments.values()} == {"Swift 1", "Tidy 2"}
    assert merged.machine is None, "the peak of one machine says nothing of another"
    (workload,) = Run.read(merged).workloads
    one, other = workload.outcomes
    sessions = {seed: trained.session for seed, trained in one.trained.items()}
    assert sessions == {seed: trained.session for seed, trained in other.trained.items()}
    by_machine = {
        seed: merged.environments[session.partition("/")[0]]["cpu"]
        for seed, session in sessions.items()
    }
    assert by_machine == {0: "Swift 1", 1: "Tidy 2", 2: "Swift 1"}
    assert len(paired_starts(one, other)) == 3
    got = CliRunner().invoke(main, ["report", str(merged.path)])
    assert got.exit_code == 0, got.output
    rows = [
        [part.strip() for part in line.split("|")[1:4]]
        for line in (merged.path / "report.md").read_text().splitlines()
        if line.startswith(("| Swift 1", "| Tidy 2"))
    ]
    assert sorted(rows) == [
        ["Swift 1", "CountsSteps", "2"], ["Swift 1", "Sound", "2"],
        ["Tidy 2", "CountsSteps", "1"], ["Tidy 2", "Sound", "1"],
    ]  # fmt: skip
    # Nor does that of a run which was itself resumed on another machine.
    assert merge([first], tmp_path / "alone").machine is not None
    file = first / "environments.json"
    recorded = json.loads(file.read_text())
    file.write_text(json.dumps(recorded | {"another": {"cpu": "Third"}}))
    assert merge([first], tmp_path / "mixed").machine is None


def test_cells_of_a_group_from_two_machines_are_not_paired(sharded, tmp_path):
    one, other = sharded("one", "1/3"), sharded("other", "1/3")
    first, last = RunFolder.open(one).manifest.own_cells
    for path, cell in ((one, first), (other, last)):
        (path / "cells" / f"{cell.id}.json").unlink()
    (workload,) = Run.read(merge([one, other], tmp_path / "merged")).workloads
    assert all(outcome.trained for outcome in workload.outcomes)
    assert paired_starts(*workload.outcomes) is None


def test_missing_cells_are_shown_as_missing_and_can_be_trained(sharded, tmp_path):
    first = sharded("first", "1/2")
    out = tmp_path / "merged"
    got = CliRunner().invoke(main, ["merge", str(first), "--out", str(out)])
    assert got.exit_code == 0, got.output
    assert "2 of 6 cells have no result" in got.output
    merged = RunFolder.open(out)
    (workload,) = Run.read(merged).workloads
    assert [outcome.missing for outcome in workload.outcomes] == [(1,), (1,)]
    assert "2 of 3 seeds" in (out / "report.md").read_text()
    run(prepare(merged.manifest.experiment, out=out, data_dir=tmp_path, resume=True))
    assert len(merged.results()) == 6


def refused(out: Path, *runs: Path) -> str:
    """The one line of `bench merge`, which leaves nothing behind."""
    before = sorted(out.parent.iterdir())
    got = CliRunner().invoke(main, ["merge", *map(str, runs), "--out", str(out)])
    assert got.exit_code == 2, got.output
    assert sorted(out.parent.iterdir()) == before
    (line,) = got.stderr.splitlines()
    return line


def test_different_results_of_one_cell_are_refused_and_equal_ones_are_not(sharded, tmp_path):
    first = sharded("first", "1/3")
    again = tmp_path / "again"
    shutil.copytree(first, again)
    assert len(merge([first, again], tmp_path / "merged").results()) == 2
    folder = RunFolder.open(again)
    result = folder.results()[0]
    folder.write_result(result.model_copy(update={"started": "2001-02-03T04:05:06+00:00"}))
    line = refused(tmp_path / "other", first, again)
    assert f"have different results of {result.cell}: leave one of the two runs out" in line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"epochs": 1}}, "the experiments differ in epochs (2, 1)"),
        ({"threads": 2}, "the experiments differ in threads (1, 2)"),
        ({"seeds": [0, 1, 3]}, "the experiments differ in seeds"),
        ({"frameworks": ["sound"]}, "the experiments differ in frameworks"),
    ],
)
def test_different_experiments_are_refused(sharded, tmp_path, settings, message):
    first, second = sharded("first", "1/3"), sharded("second", "2/3")
    experiment = json.loads((second / "experiment.json").read_bytes())["experiment"]
    training = experiment["training"] | settings.pop("training", {})
    _edit(second, experiment=experiment | settings | {"training": training})
    line = refused(tmp_path / "merged", first, second)
    assert message in line
    assert "second cannot be merged with" in line


def _edit(path: Path, **fields: object) -> None:
    file = path / "experiment.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | fields))


def test_other_versions_weights_and_plans_are_refused(sharded, tmp_path):
    first, second = sharded("first", "1/3"), sharded("second", "2/3")
    described = json.loads((second / "experiment.json").read_bytes())
    out = tmp_path / "merged"
    _edit(second, harness_version="0.0.1")
    assert "made by version 0.0.1 and version" in refused(out, first, second)
    _edit(second, **described)
    _edit(second, initial_weights_sha256="0" * 64)
    assert "different files of initial weights" in refused(out, first, second)
    _edit(second, **described)
    _edit(second, cells=described["cells"][:-1])
    assert "their plans have different cells" in refused(out, first, second)


def test_data_are_compared_by_content_not_by_path(sharded, small_dataset, tmp_path):
    first = sharded("first", "1/3")
    moved = write_dataset(tmp_path / "elsewhere.h5", small_dataset(license="CC0"))
    second = sharded("moved", "2/3", data=moved)
    assert len(merge([first, second], tmp_path / "merged").results()) == 4
    other = small_dataset()
    other.splits["train"].images[0] ^= np.uint8(1)
    changed = write_dataset(tmp_path / "changed.h5", other)
    third = sharded("third", "3/3", data=changed)
    line = refused(tmp_path / "not", first, third)
    assert "the contents of the data set small differ" in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("experiment.json", b"{", "cannot read the run's description"),
        ("environments.json", b"[]", "cannot read the run's environments"),
        ("machine.json", b"{}", "cannot read what the machine can do"),
        ("cells/sound-lenet5-small-s0.json", b"{}", "cannot read this result"),
        ("cells/sound-lenet5-small-s0.h5", b"no HDF5", "cannot read these predictions"),
    ],
)
def test_a_damaged_folder_is_refused(sharded, tmp_path, name, content, message):
    first = sharded("first", "1/3")
    assert (first / name).is_file()
    (first / name).write_bytes(content)
    line = refused(tmp_path / "merged", first)
    assert message in line
    assert str(first) in line


def test_what_is_no_run_and_what_is_in_the_way(sharded, tmp_path):
    assert "holds no run" in refused(tmp_path / "merged", tmp_path / "nothing")
    first = sharded("first", "1/3")
    assert "already holds a run" in refused(first, first)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1/2 "])
def test_faulty_shards(text):
    got = CliRunner().invoke(main, ["run", "--shard", text, "--dry-run"])
    assert got.exit_code == 2
    assert "give I/N with I from 1 to N" in got.output


def test_more_shards_than_groups(sharded, tmp_path):
    with pytest.raises(BenchError, match="--shard 4/4: the experiment has only 3 groups"):
        sharded("run", "4/4")
    assert not (tmp_path / "run").exists()


def test_runs_from_before_there_were_shards_still_open(sharded, tmp_path):
    whole = sharded("whole")
    described = json.loads((whole / "experiment.json").read_bytes())
    del described["shard"]
    (whole / "experiment.json").write_text(json.dumps(described))
    assert RunFolder.open(whole).manifest.own_cells == RunFolder.open(whole).manifest.cells

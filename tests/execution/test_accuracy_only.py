"""``--accuracy-only``: cells side by side, accuracies and no speeds."""

from __future__ import annotations

import csv
import json
import threading

import pytest
from trained import assert_same

from harness.analysis.baseline import speed_in
from harness.analysis.summary import RunSummary
from harness.config import available_cpus, parse_experiment
from harness.errors import BenchError
from harness.execution.observer import SilentObserver
from harness.execution.runner import prepare, run
from harness.report.markdown import render
from harness.report.terminal import overview

NAMES = ("remembers", "alsoremembers", "sound")


class Watches(SilentObserver):
    """How many cells are open at a time; interrupts after an epoch of a framework."""

    def __init__(self, interrupt=None):
        self.lock = threading.Lock()
        self.open, self.most = set(), 0
        self.interrupt = interrupt

    def phase_started(self, cell, phase):
        with self.lock:
            self.open.add(cell)
            self.most = max(self.most, len(self.open))

    def epoch_ended(self, cell, number, epoch):
        if (cell.framework, number) == self.interrupt:
            raise KeyboardInterrupt

    def cell_ended(self, result, *, resumed):
        with self.lock:
            self.open.discard(result.cell)


@pytest.fixture
def prepared(planted, small_file, tmp_path):
    def make(*names, out="run", observer=None, resume=False, **settings):
        experiment = parse_experiment(
            {
                "frameworks": names,
                "datasets": [str(small_file)],
                "seeds": [0, 1],
                "accuracy_only": True,
                "training": {"epochs": 3, "batch_size": 8},
            }
            | settings,
            where="test",
        )
        return prepare(
            experiment, out=tmp_path / out, data_dir=tmp_path, observer=observer, resume=resume
        )

    return make


@pytest.mark.skipif(len(available_cpus()) < 2, reason="needs two CPUs")
def test_cells_train_side_by_side_with_the_same_results(prepared, monkeypatch):
    monkeypatch.setenv("PLANTED_STEP_S", "0.02")
    alone = prepared(*NAMES, out="alone", accuracy_only=False, threads=1, warm_start=False)
    run(alone)
    watching = Watches()
    together = prepared(*NAMES, observer=watching)
    assert together.folder.manifest.experiment.threads == 1, "as many as fit"
    results = run(together)
    assert [result.cell for result in results] == together.cells
    assert watching.most == len(available_cpus())
    assert_same(alone.folder, together.folder)
    cpus = {result.facts["cpus"] for result in results if "cpus" in result.facts}
    assert all(len(each.split(",")) == 1 for each in cpus)


def test_nothing_that_is_shown_is_a_speed(prepared, tmp_path):
    comparison = prepared(*NAMES)
    run(comparison)
    folder = comparison.folder
    render(folder.path)
    for name in ("report.md", "details.md"):
        text = (folder.path / name).read_text("utf-8").partition("## How to read this")[0]
        for word in ("images/s", "images a second", "Start-up cost", "Time to accuracy",
                     "Speed ratio", "Compilation", "utilisation"):  # fmt: skip
            assert word not in text, f"{word} in {name}"
    report = (folder.path / "report.md").read_text("utf-8")
    assert "this run is for accuracies only" in report
    assert "est accuracy" in report
    with (folder.path / "results.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["test_accuracy"]
            assert not any(row[name] for name in ("images_per_second", "first_step_s", "rounds",
                                                  "train_seconds_total"))  # fmt: skip
    assert not (folder.path / "machine.json").exists()
    key = ("sound", "lenet5", "small")
    assert speed_in(folder, key) is None
    summary = RunSummary.read(folder)
    assert all(each.verdict.speeds is None for each in summary.workloads)
    from rich.console import Console

    console = Console(width=100, record=True)
    console.print(overview(summary))
    assert "images/s" not in console.export_text()


def test_from_the_command_line(planted_bench, small_file, tmp_path):
    out = tmp_path / "run"
    done = planted_bench("run", "--frameworks", "sound,remembers", "--datasets", small_file,
                         "--epochs", 2, "--batch-size", 8, "--accuracy-only", "--verbose",
                         "--json", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["images_per_second"] for row in json.loads(done.stdout)] == [None, None]
    assert "images/s" not in done.stderr
    assert not (out / "benchmark.json").exists()
    stored = planted_bench("baseline", "update", out, "--baseline", tmp_path / "b.json")
    assert stored.returncode == 0, stored.stderr
    checked = planted_bench("check", out, "--baseline", tmp_path / "b.json")
    assert checked.returncode == 0, checked.stderr
    assert "not checked" in checked.stdout


def test_an_interrupt_stops_all_and_resume_completes_them(prepared):
    whole = prepared(*NAMES, out="whole")
    run(whole)
    comparison = prepared(*NAMES, observer=Watches(("sound", 2)))
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    assert len(comparison.folder.results()) < len(comparison.cells)
    assert all(result.status == "ok" for result in comparison.folder.results())
    again = prepared(*NAMES, resume=True)
    run(again)
    assert_same(whole.folder, again.folder)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"inference": [1]}, "inference"),
        ({"profile": True, "rounds": 9}, "profile and rounds"),
        ({"sessions": 2}, "sessions"),
    ],
)
def test_what_would_measure_speeds_is_refused(settings, named):
    with pytest.raises(BenchError, match=f"accuracy_only measures no speed: leave out {named}"):
        parse_experiment({"accuracy_only": True} | settings, where="test")

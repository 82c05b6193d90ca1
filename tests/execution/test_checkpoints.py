"""Checkpoints: a training that was interrupted goes on, to the last bit, as if it had not been."""

from __future__ import annotations

import os
from itertools import pairwise
from types import SimpleNamespace

import h5py
import numpy as np
import psutil
import pytest
from trained import assert_same

from harness.analysis.paired import paired_starts
from harness.analysis.run import Run
from harness.config import parse_experiment
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.execution import group
from harness.execution.cell import CellRun
from harness.execution.observer import SilentObserver
from harness.execution.runner import prepare, run
from harness.files import replacing
from harness.results.records import CellResult

EPOCHS = 5


class Interrupts(SilentObserver):
    """Stops the run after an epoch of a framework, as Ctrl-C does."""

    def __init__(self, framework=None, number=None):
        self.at = framework, number
        self.epochs = []
        self.phases = []

    def phase_started(self, cell, phase):
        self.phases.append((cell.framework, phase))

    def epoch_ended(self, cell, number, epoch):
        self.epochs.append((cell.framework, number))
        if (cell.framework, number) == self.at:
            raise KeyboardInterrupt


@pytest.fixture
def prepared(small_file, tmp_path):
    """Prepares a comparison; a checkpoint follows every epoch."""

    def make(*frameworks, out="run", interrupt=(), resume=False, training=None, **settings):
        experiment = parse_experiment(
            {
                "frameworks": frameworks,
                "datasets": [str(small_file)],
                "threads": 1,
                "checkpoint_seconds": 0,
                "warm_start": False,
                "training": {"epochs": EPOCHS, "batch_size": 8} | (training or {}),
            }
            | settings,
            where="test",
        )
        return prepare(
            experiment,
            out=tmp_path / out,
            data_dir=tmp_path,
            resume=resume,
            observer=Interrupts(*interrupt),
        )

    return make


@pytest.fixture
def interrupted(prepared):
    """Runs until an epoch of a framework has ended, then resumes; the second comparison."""

    def go(*frameworks, interrupt, out="resumed", **settings):
        first = prepared(*frameworks, out=out, interrupt=interrupt, **settings)
        with pytest.raises(KeyboardInterrupt):
            run(first)
        comparison = prepared(*frameworks, out=out, resume=True, **settings)
        run(comparison)
        return comparison

    return go


def checkpoints(comparison):
    return sorted(path.name for path in comparison.folder.path.rglob("*checkpoint*"))


NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly: starts Julia")
REAL = [
    pytest.param(("torch", "jax"), id="torch,jax"),
    pytest.param(("julia-reference",), id="julia-reference", marks=NIGHTLY),
    pytest.param(("knet",), id="knet", marks=NIGHTLY),
]


@pytest.mark.parametrize("names", REAL)
def test_a_resumed_training_agrees_to_the_last_bit(
    names, ready, prepared, interrupted, small_dataset, tmp_path
):
    frameworks = ready(*names).split(",")
    data = write_dataset(tmp_path / "wider.h5", small_dataset(shape=(1, 28, 28), name="wider"))
    settings = {
        "models": ["xraynet"],  # with running statistics
        "datasets": [str(data)],
        "training": {
            "epochs": 3,
            "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1},
            "augmentation": {"flip": True, "shift": 2},
        },
    }
    whole = prepared(*frameworks, out="whole", **settings)
    run(whole)
    resumed = interrupted(*frameworks, interrupt=(frameworks[-1], 2), **settings)
    assert_same(whole.folder, resumed.folder)
    for cell in resumed.cells:
        result = resumed.folder.read_result(cell)
        assert list(result.earlier.values()) == [1], "the second round was not over"
    assert checkpoints(resumed) == []


def test_frameworks_stay_interleaved_and_a_backend_without_checkpoints_starts_anew(
    planted, prepared, interrupted
):
    names = ("remembers", "sound", "countssteps")
    whole = prepared(*names, out="whole")
    run(whole)
    resumed = interrupted(*names, interrupt=("sound", 4))
    assert_same(whole.folder, resumed.folder)
    heard = resumed.observer.epochs
    # `remembers` goes on after its third epoch; then all train the same epoch side by side.
    assert [n for name, n in heard if name == "remembers"] == [4, 5]
    assert [n for name, n in heard if name == "sound"] == [1, 2, 3, 4, 5]
    assert all(one[1] <= two[1] for one, two in pairwise(heard))
    assert {name for name, n in heard[-3:]} == set(names)
    phases = resumed.observer.phases
    assert [p for p in phases if "resuming" in p[1]] == [("remembers", "resuming after epoch 3")]

    results = {r.cell.framework: r for r in resumed.folder.results()}
    first, second = (f"{name}/1" for name in resumed.folder.environments)
    assert results["remembers"].earlier == {first: 3}
    assert {r.session for r in results.values()} == {second}
    numbers = {name: list(each) for name, each in results["remembers"].numbered.items()}
    assert numbers == {first: [0, 1, 2], second: [3, 4]}
    # Speeds pair within a session, and there epoch by epoch.
    (workload,) = Run.read(resumed.folder).workloads
    outcomes = {outcome.framework: outcome for outcome in workload.finished}
    (pairs,) = paired_starts(outcomes["remembers"], outcomes["sound"])
    seconds = [[e.seconds for e in results[name].epochs[3:]] for name in ("remembers", "sound")]
    undisturbed = [
        i for i in (3, 4) if not any(results[n].epochs[i].disturbed for n in ("remembers", "sound"))
    ]
    wanted = np.log(np.divide(*seconds[::-1]))[[i - 3 for i in undisturbed]]
    np.testing.assert_allclose(pairs, wanted)


def test_a_checkpoint_outlives_a_worker_that_was_killed(planted, prepared, monkeypatch):
    whole = prepared("remembers", out="whole")
    run(whole)
    comparison = prepared("remembers")
    epoch_ended = comparison.observer.epoch_ended

    def kill(cell, number, epoch):
        epoch_ended(cell, number, epoch)
        if number == 3:
            started = (
                child
                for child in psutil.Process().children()
                if "harness.execution.worker" in child.cmdline()
            )
            max(started, key=psutil.Process.create_time).kill()  # others are of other tests

    monkeypatch.setattr(comparison.observer, "epoch_ended", kill)
    (result,) = run(comparison)
    assert result.status == "failed"
    assert "was killed by signal 9" in result.error
    assert len(result.epochs) == 3
    assert checkpoints(comparison) == ["remembers-lenet5-small-s0.checkpoint-2.h5"]
    again = prepared("remembers", resume=True)
    run(again)
    assert again.observer.epochs[0][1] == 3, "two of three epochs were saved"
    assert_same(whole.folder, again.folder)
    assert checkpoints(again) == []


@pytest.mark.parametrize("names", [("remembers", "alsoremembers"), ("alsoremembers", "remembers")])
def test_all_continue_after_the_same_epoch(planted, prepared, monkeypatch, names):
    """A run that is killed while checkpoints are saved has some of the next epoch already."""
    whole = prepared(*names, out="whole")
    run(whole)
    comparison = prepared(*names)
    save = CellRun.save_checkpoint

    def interrupted(cell_run):
        if cell_run.cell.framework == names[1] and len(cell_run.epochs) == 3:
            raise KeyboardInterrupt
        save(cell_run)

    with monkeypatch.context() as patch:
        patch.setattr(CellRun, "save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(comparison)
    assert checkpoints(comparison) == sorted(
        f"{name}-lenet5-small-s0.checkpoint-{epoch}.h5"
        for name, epoch in [(names[0], 2), (names[0], 3), (names[1], 2)]
    )
    again = prepared(*names, resume=True)
    run(again)
    assert [number for _, number in again.observer.epochs] == [3, 3, 4, 4, 5, 5]
    assert_same(whole.folder, again.folder)
    assert checkpoints(again) == []


def test_one_that_failed_early_catches_up_and_then_stays_beside_the_others(
    planted, prepared, monkeypatch
):
    names = ("remembers", "alsoremembers")
    whole = prepared(*names, out="whole")
    run(whole)
    comparison = prepared(*names, interrupt=("remembers", 4))
    monkeypatch.setenv("PLANTED_FAILS_IN", "2")
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    monkeypatch.delenv("PLANTED_FAILS_IN")
    assert checkpoints(comparison) == [
        "alsoremembers-lenet5-small-s0.checkpoint-1.h5",
        "remembers-lenet5-small-s0.checkpoint-3.h5",
    ]
    again = prepared(*names, resume=True)
    run(again)
    assert [n for name, n in again.observer.epochs if name == "remembers"] == [4, 5]
    assert [n for name, n in again.observer.epochs if name == "alsoremembers"] == [2, 3, 4, 5]
    assert [n for _, n in again.observer.epochs][2:] == [4, 4, 5, 5]
    assert_same(whole.folder, again.folder)


def test_a_training_that_diverged_leaves_no_checkpoint(planted, prepared, monkeypatch):
    comparison = prepared("diverges")
    (result,) = run(comparison)
    assert result.status == "diverged"
    assert checkpoints(comparison) == []


def test_a_backend_that_does_not_take_over_its_state_fails(planted, prepared, interrupted):
    comparison = interrupted("forgetsvelocity", interrupt=("forgetsvelocity", 3))
    (result,) = comparison.folder.results()
    assert result.error == "forgetsvelocity did not take over its checkpoint"
    assert len(result.epochs) == 2


def damaged(path):
    path.write_bytes(path.read_bytes()[:-500])


def of_another_cell(path):
    with h5py.File(path, "a") as file:
        text = np.asarray(file["progress"]).tobytes().replace(b'"seed":0', b'"seed":1')
        file["progress"][...] = np.frombuffer(text, np.uint8)


def of_another_network(path):
    with h5py.File(path, "a") as file:
        del file["weights/conv1.bias"]


def of_a_newer_version(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = "checkpoint/2"


@pytest.mark.parametrize(
    "damage", [damaged, of_another_cell, of_another_network, of_a_newer_version]
)
def test_a_faulty_checkpoint_is_named(planted, prepared, damage):
    comparison = prepared("remembers", interrupt=("remembers", 3))
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    damage(next(comparison.folder.path.rglob("*.checkpoint-*.h5")))
    again = prepared("remembers", resume=True)
    with pytest.raises(BenchError, match=r"checkpoint.*delete it to train"):
        run(again)


def test_a_result_makes_its_checkpoint_superfluous(planted, prepared):
    """A process may be killed after the one is written and before the other is removed."""
    comparison = prepared("remembers", interrupt=("remembers", 2))
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    (path,) = comparison.folder.path.rglob("*.checkpoint-*.h5")
    kept = path.read_bytes()
    run(prepared("remembers", resume=True))
    path.write_bytes(kept)
    again = prepared("remembers", resume=True)
    run(again)
    assert again.observer.epochs == []
    assert checkpoints(again) == []


def test_what_a_killed_process_was_writing_is_removed(planted, prepared):
    comparison = prepared("sound")
    run(comparison)
    with replacing(comparison.folder.path / "cells" / "x") as partial:
        partial.write_text("whole")
    partial.write_text("half")
    prepared("sound", resume=True).folder.unlock()
    assert not partial.exists()


def test_trainings_of_short_epochs_save_nothing(planted, prepared):
    comparison = prepared("remembers", checkpoint_seconds=10, interrupt=("remembers", 3))
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    assert checkpoints(comparison) == []


def test_the_slowest_framework_of_a_group_decides(planted, prepared, monkeypatch):
    monkeypatch.setenv("PLANTED_STEP_S", "0.02")  # five steps an epoch; `sound` takes no time
    comparison = prepared(
        "remembers", "alsoremembers", "sound", checkpoint_seconds=0.1, interrupt=("sound", 3)
    )
    with pytest.raises(KeyboardInterrupt):
        run(comparison)
    assert len(checkpoints(comparison)) == 2


@pytest.mark.parametrize(
    ("takes_s", "seconds", "expected"),
    [
        (1000.0, 0.01, [1]),  # more than all that is trained afterwards is worth
        (0.0, 0.01, [1, 2, 3, 4]),
        (1000.0, 0, [1, 2, 3, 4]),  # asked for after every epoch
    ],
)
def test_checkpoints_take_a_small_part_of_the_training(
    planted, prepared, monkeypatch, takes_s, seconds, expected
):
    monkeypatch.setenv("PLANTED_STEP_S", "0.02")
    clock, saved = [0.0], []

    def save(runs):
        saved.append(len(runs[0].epochs))
        clock[0] += takes_s

    monkeypatch.setattr(group, "save_all", save)
    monkeypatch.setattr(group, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    run(prepared("remembers", checkpoint_seconds=seconds))
    assert saved == expected


def test_another_number_of_seconds_resumes_the_same_run(planted, prepared):
    run(prepared("sound"))
    prepared("sound", resume=True, checkpoint_seconds=7).folder.unlock()


def test_results_of_earlier_versions_have_one_session(planted, prepared):
    comparison = prepared("sound")
    (result,) = run(comparison)
    old = result.model_dump(mode="json", exclude={"earlier"})
    assert CellResult.model_validate(old) == result
    with pytest.raises(ValueError, match="earlier sessions have more epochs"):
        CellResult.model_validate(old | {"earlier": {"a/1": EPOCHS + 1}})

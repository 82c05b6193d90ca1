"""Groups of cells, trained by planted backends: what is promised whatever the framework does."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from harness import processes
from harness.config import parse_experiment
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.execution import cell as cell_module
from harness.execution.observer import SilentObserver
from harness.execution.runner import prepare, run
from harness.measure import conditions
from harness.measure.conditions import Conditions, Watch
from harness.measure.probe import MachineProbe
from harness.plugins import find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import digest, initial_weights, load_weights, save_weights
from harness.results.folder import RunFolder


class Recorder(SilentObserver):
    """Notes what an observer hears, and which results were on disk when a cell ended."""

    def __init__(self, out):
        self.out = out
        self.epochs = []
        self.phases = []
        self.ended = []
        self.resumed = []

    def phase_started(self, cell, phase):
        self.phases.append((cell.framework, phase))

    def epoch_ended(self, cell, number, epoch):
        self.epochs.append((cell.seed, number, cell.framework))

    def cell_ended(self, result, *, resumed):
        kept = RunFolder.open(self.out).read_result(result.cell)
        assert kept is not None
        assert kept.status == result.status
        self.ended.append(result.cell.framework)
        self.resumed.append(resumed)


MAPS = """
import os
import numpy as np
from planted import CountsSteps, Sound

class OtherMind(Sound):
    def predict(self, split):
        return super().predict(split)[:, [1, 0, 2]]
    def activation_maps(self, split, rows, outputs):
        return 2 * super().activation_maps(split, rows, outputs)

class FailsInMaps(Sound):
    def activation_maps(self, split, rows, outputs):
        raise ValueError("no maps today")

class FailsWithPid(Sound):
    def train_epoch(self, order, rates, augmentation=None):
        if len(order) > 1:
            open(os.environ["PLANTED_FILE"], "w").write(str(os.getpid()))
            raise MemoryError("no more")
        return super().train_epoch(order, rates, augmentation)

class LooksForPid(Sound):
    \"\"\"Its loss is 0 when that process is gone.\"\"\"
    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if len(order) > 1:
            pid = open(os.environ["PLANTED_FILE"]).read()
            return losses * os.path.exists(f"/proc/{pid}")
        return losses

class DiesOnceInInference(CountsSteps):
    def infer(self, images):
        print("inference with", self.weights["conv1.bias"][0], flush=True)
        if not os.path.exists(os.environ["PLANTED_FILE"]):
            open(os.environ["PLANTED_FILE"], "w").close()
            os._exit(3)
        return super().infer(images)

class WrongMaps(Sound):
    def activation_maps(self, split, rows, outputs):
        return np.ones((len(rows), 4))
"""


@pytest.fixture
def compare(planted, small_file, tmp_path, monkeypatch):
    """Prepares a comparison of planted backends; ``recorder`` is its observer."""

    (tmp_path / "maps.py").write_text(MAPS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    names = ("OtherMind", "FailsInMaps", "WrongMaps", "FailsWithPid", "LooksForPid")
    for name in (*names, "DiesOnceInInference"):
        spec = replace(planted["sound"], name=name.lower(), factory=f"maps:{name}")
        monkeypatch.setitem(planted, spec.name, spec)

    def compare(
        *frameworks, epochs=2, seeds=(0,), resume=False, batch_size=8, out="run", **settings
    ):
        experiment = parse_experiment(
            {
                "frameworks": frameworks,
                "datasets": [str(small_file)],
                "seeds": seeds,
                "threads": 1,
                "training": {"epochs": epochs, "batch_size": batch_size},
            }
            | settings,
            where="test",
        )
        folder = tmp_path / out
        return prepare(
            experiment, out=folder, data_dir=tmp_path, resume=resume, observer=Recorder(folder)
        )

    compare.folder = tmp_path / "run"
    return compare


def train(comparison):
    return {result.cell.id: result for result in run(comparison)}


def test_the_order_rotates_with_every_round_and_every_seed(compare):
    comparison = compare("sound", "allocates", "talks", seeds=(5, 6), rounds=3)
    train(comparison)
    first, second, third = (
        ["sound", "allocates", "talks"],
        ["allocates", "talks", "sound"],
        ["talks", "sound", "allocates"],
    )
    assert comparison.observer.epochs == [
        (seed, number, name)
        for seed, turns in ((5, (first, second)), (6, (second, third)))
        for number, names in enumerate(turns, 1)
        for name in names
    ]
    timing = [name for name, phase in comparison.observer.phases if phase == "timing"]
    assert timing == third + first
    assert comparison.observer.phases[:4] == [
        ("sound", phase) for phase in ("importing", "building", "compiling", "warming up")
    ]


def test_the_sessions_of_a_run_and_what_they_ran_on(compare, monkeypatch):
    results = train(compare("sound", "talks", seeds=(0, 1)))
    sessions = [result.session for result in results.values()]
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]
    folder = RunFolder.open(compare.folder)
    (invocation,) = folder.environments
    assert {session.partition("/")[0] for session in sessions} == {invocation}
    assert folder.environments[invocation] == folder.environment

    folder.path.joinpath("cells", "talks-lenet5-small-s1.json").unlink()
    later = folder.environment | {"cpu": "another"}
    monkeypatch.setattr("harness.execution.runner.collect", lambda *_: later)
    comparison = compare("sound", "talks", seeds=(0, 1), resume=True)
    cpu = f"cpu: {folder.environment['cpu']} -> another"
    assert comparison.folder.changes_since_start() == [cpu]
    assert comparison.folder.environment_changes() == []  # nothing was measured there yet
    resumed = [result.session for result in train(comparison).values()]
    assert [resumed[0], resumed[1], resumed[3]] == [sessions[0], sessions[1], sessions[3]]
    assert resumed[2] not in sessions
    assert comparison.folder.environment_changes() == [cpu]
    assert RunFolder.open(folder.path).environment == folder.environment


@pytest.fixture
def loads(monkeypatch):
    """Other load of each timed pass in the order of measurement; 0 when the list is used up."""
    upcoming: list[float] = []

    @contextlib.contextmanager
    def watching(pid, cpus, gemm_gflops):
        watch = Watch()
        yield watch
        load = upcoming.pop(0) if upcoming else 0.0
        watch.conditions = Conditions(gemm_gflops=gemm_gflops, other_load=load)

    monkeypatch.setattr(cell_module, "watching", watching)
    monkeypatch.setattr(conditions, "COUNTED_S", 0.0)  # planted epochs take no time
    return upcoming


def test_a_disturbed_turn_is_measured_again_for_all(compare, loads):
    loads += [0, 0, 0.9, 0, 0, 0]  # of three turns the second, of which 'countssteps' is first
    comparison = compare("sound", "countssteps", epochs=3)
    sound, counts = train(comparison).values()
    for result in sound, counts:
        assert [epoch.repeats for epoch in result.epochs] == [0, 1, 0]
        assert not any(epoch.disturbed for epoch in result.epochs)
        assert [epoch.conditions.other_load for epoch in result.epochs] == [0, 0, 0]
    parameters = find_model("lenet5").parameters((1, 12, 12), 3)
    kept = load_weights(comparison.folder.weights_path(counts.cell), parameters)
    assert kept["conv1.bias"].tolist() == [3 * 5] * 6  # the repeated epoch has trained nothing
    repeated = [name for name, phase in comparison.observer.phases if phase == "repeating"]
    assert sorted(repeated) == ["countssteps", "sound"]


def test_disturbed_rounds_of_a_training_that_failed_are_not_measured_again(compare, loads):
    loads += [0.9, 0.9]
    fails, sound = train(compare("failsinsecondepoch", "sound", epochs=2)).values()
    assert (fails.status, [epoch.repeats for epoch in fails.epochs]) == ("failed", [0])
    assert (sound.status, sound.epochs[0].repeats) == ("ok", 1)


def test_a_turn_that_stays_disturbed_keeps_its_quietest_attempt(compare, loads):
    loads += [0.9, 0.0, 0.0, 0.5, 0.7, 0.8]
    (result,) = train(compare("sound", epochs=3)).values()
    first, *others = result.epochs
    assert (first.repeats, first.disturbed, first.conditions.other_load) == (3, True, 0.5)
    assert [(epoch.repeats, epoch.disturbed) for epoch in others] == [(0, False)] * 2


def test_the_record_of_the_machine_keeps_the_best_of_the_run(compare, measured, monkeypatch):
    speeds = iter([50.0, 200.0, 90.0])
    copies = iter([30.0])
    monkeypatch.setattr(MachineProbe, "bandwidth_gb_s", lambda self: next(copies))
    ask = MachineProbe._ask

    def gemm(self, *question):
        if question[0] != "gemm":
            return ask(self, *question)
        return next(speeds)

    monkeypatch.setattr(MachineProbe, "_ask", gemm)
    comparison = compare("sound", epochs=2)  # a product a round, one afterwards
    train(comparison)
    assert comparison.folder.machine.gemm_gflops == {"float32": 200.0}
    assert comparison.folder.machine.bandwidth_gb_s == 30.0


def test_repeats_are_limited_to_as_many_as_there_are_turns(compare, loads):
    loads += [0.9] * 100
    (result,) = train(compare("sound", epochs=2, rounds=5)).values()
    assert sum(each.repeats for each in result.rounds) == 5
    assert all(each.disturbed for each in result.rounds)


def test_a_result_holds_what_was_measured(compare, small_file):
    comparison = compare("sound", epochs=3, seeds=(4,))
    (cell,) = comparison.cells
    (result,) = run(comparison)
    assert result == comparison.folder.read_result(cell)
    assert result.status == "ok"
    assert len(result.epochs) == 3
    assert all(epoch.seconds > 0 and epoch.images == 40 for epoch in result.epochs)
    assert result.epochs[0].loss == pytest.approx(np.mean([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]))
    # The planted logits answer class 0 with a logit of 1 against two of 0; a third is class 0.
    assert (result.test.correct, result.test.examples) == (4, 12)
    assert result.test.loss == pytest.approx(np.log(np.e + 2) - 1 / 3)
    assert all(seconds > 0 for seconds in result.phases.model_dump().values())
    assert result.peak_rss_bytes > 2**20
    parameters = find_model("lenet5").parameters((1, 12, 12), 3)
    assert result.parameters == sum(parameter.size for parameter in parameters)
    assert result.identity.initial_weights == digest(initial_weights(parameters, seed=4))
    arrays = comparison.folder.read_arrays(cell)
    assert arrays.step_losses.shape == (15,)
    assert arrays.test_logits.shape == (12, 3)
    assert arrays.test_labels.tolist() == [0, 1, 2] * 4
    kept = load_weights(comparison.folder.weights_path(cell), parameters)
    assert digest(kept) == result.identity.initial_weights  # planted backends learn nothing


def test_the_trial_step_is_undone(compare):
    comparison = compare("countssteps", epochs=3)
    (cell,) = comparison.cells
    run(comparison)
    parameters = find_model("lenet5").parameters((1, 12, 12), 3)
    kept = load_weights(comparison.folder.weights_path(cell), parameters)
    assert kept["conv1.bias"].tolist() == [3 * 5] * 6


def test_the_same_numbers_reach_every_framework(compare):
    sound, talks = (r.identity for r in train(compare("sound", "talks")).values())
    assert sound == talks
    # One planted to hold no images tells no digest of them.
    assert len(set(sound.model_dump().values())) == 6
    assert (
        sound.batch_order
        == hashlib.sha256(
            b"".join(epoch_order(40, 8, 0, epoch).tobytes() for epoch in range(2))
        ).hexdigest()
    )


@pytest.mark.parametrize(
    ("name", "message", "epochs"),
    [
        ("failsinsecondepoch", "RuntimeError: out of luck", 1),
        ("raises", "ValueError: the planted fault", 0),
        ("exits", "ended with exit code 7", 0),
        ("altersweights", "altersweights did not take over the weights of conv1.weight", 0),
        ("losesweights", "losesweights did not take over the weights of conv1.weight", 0),
        ("wronglogits", r"wronglogits returned logits of shape (9, 2), not (9, 3)", 0),
        ("wronglosses", "wronglosses returned losses of shape (1,) for 5 steps", 0),
        ("reversesorder", "reversesorder has other batch order than what was sent to it", 2),
        ("tellsotherrates", "tellsotherrates has other batch order than what", 2),
        ("swapslabels", "swapslabels has other images than what was sent to it", 2),
        ("compilesintest", "1 program was compiled while evaluation on test was timed", 2),
    ],
)
def test_a_framework_that_fails_leaves_the_others_alone(compare, name, message, epochs):
    comparison = compare(name, "sound")
    failed, sound = train(comparison).values()
    assert (failed.cell.framework, failed.status) == (name, "failed")
    assert message in failed.error
    assert len(failed.epochs) == epochs
    assert failed.test is None
    assert (sound.status, len(sound.epochs)) == ("ok", 2)
    assert comparison.folder.results() == [failed, sound]
    assert comparison.observer.ended == [name, "sound"]


@pytest.mark.parametrize(
    ("name", "message", "epochs"),
    [
        ("diverges", "the loss of step 3 of epoch 2 is nan", 1),
        ("logitsoverflow", "a logit of image 3 of the test split is inf", 2),
        ("weightsoverflow", "after training a weight of conv1.bias is inf", 2),
    ],
)
def test_a_training_without_finite_numbers_has_diverged(compare, name, message, epochs):
    comparison = compare(name, "sound")
    diverged, sound = train(comparison).values()
    assert (diverged.status, diverged.error, diverged.test) == ("diverged", message, None)
    assert len(diverged.epochs) == epochs
    assert sound.status == "ok"
    assert comparison.folder.results() == [diverged, sound]
    assert comparison.folder.read_arrays(diverged.cell) is None
    assert not comparison.folder.weights_path(diverged.cell).exists()
    assert len(examples(comparison, sound.cell)[0]) == 6, "left to the next"


@pytest.mark.parametrize("name", ["stops", "busy"])
def test_a_worker_that_does_not_answer_times_out_and_the_run_goes_on(compare, name):
    comparison = compare(name, "sound", timeout={"epoch": 0.5})
    late, sound = train(comparison).values()
    assert late.status == "timeout"
    assert late.error == (
        f"the {name} process did not finish train_epoch within 0.5 s and was ended (--timeout)"
    )
    assert (sound.status, len(sound.epochs)) == ("ok", 2)


def test_a_pass_may_take_what_earlier_ones_suggest(compare, monkeypatch):
    """Where nobody asks for a limit."""
    monkeypatch.setattr(cell_module, "PASS_LIMIT_S", 0.5)
    monkeypatch.setattr(cell_module, "PASS_LIMIT_FACTOR", 0.0)
    late, _ = train(compare("stops", "sound")).values()
    assert late.status == "timeout"
    assert "within 0.5 s" in late.error


def test_a_cell_that_failed_holds_no_process(compare, tmp_path, monkeypatch):
    """While the others train: its memory is theirs."""
    monkeypatch.setenv("PLANTED_FILE", str(tmp_path / "pids"))
    failed, sound = train(compare("failswithpid", "looksforpid")).values()
    assert (failed.status, sound.status) == ("failed", "ok")
    assert sound.epochs[0].loss == 0, "the process of the cell that failed is still there"


def test_extras_fail_alone_and_resume_measures_what_is_missing(compare, tmp_path, monkeypatch):
    flag = tmp_path / "flag"
    monkeypatch.setenv("PLANTED_FILE", str(flag))
    settings = {"rounds": 4, "inference": (1, 4), "profile": True}
    settings["timeout"] = {"compile": 2.0}
    comparison = compare("extrasfail", "sound", **settings)
    result, sound = train(comparison).values()
    assert (result.status, result.test.correct, len(result.epochs)) == ("ok", 4, 2)
    messages = {name: extra.message for name, extra in result.unfinished.items()}
    assert messages == {
        "examples": "ZeroDivisionError: division by zero",
        "rounds": "the extrasfail process ended with exit code 7 during train_epoch",
        "inference": "the extrasfail process did not finish infer within 2 s and was ended "
        "(--timeout)",
        "profile": "the extrasfail process was killed by signal 9 (out of memory?) during profile",
    }
    states = {name: extra.state for name, extra in result.extras.items()}
    assert states.pop("warm start") == "done"
    assert {*states.values()} == {"failed"}
    assert [latency.batch_size for latency in result.inference] == [1]
    assert not sound.unfinished
    assert len(sound.extra_rounds) == 2
    assert comparison.folder.results() == [result, sound]

    flag.touch()
    comparison = compare("extrasfail", "sound", resume=True, **settings)
    again, kept = train(comparison).values()
    assert comparison.observer.resumed == [True, False]
    assert comparison.observer.epochs == [], "no training is repeated"
    assert kept == sound
    assert not again.unfinished
    assert (again.epochs, again.test) == (result.epochs, result.test)
    assert again.inference[0] == result.inference[0]
    assert [latency.batch_size for latency in again.inference] == [1, 4]
    assert (len(again.extra_rounds), again.operations) == (2, {"other": 1.0})
    assert len(examples(comparison, again.cell)[0]) == 6
    # Rounds of another session are not compared with those of this one.
    assert again.session == kept.session
    assert [len(rounds) for rounds in again.sessions.values()] == [2, 2]
    assert [len(rounds) for rounds in kept.sessions.values()] == [4]
    assert len(again.sessions.keys() & kept.sessions.keys()) == 1


def test_what_is_measured_after_training_is_of_the_trained_weights(compare, tmp_path, monkeypatch):
    """Also in the worker that takes the place of one that has died."""
    monkeypatch.setenv("PLANTED_FILE", str(tmp_path / "flag"))
    settings = {"inference": (1, 4)}
    comparison = compare("diesonceininference", **settings)
    (result,) = train(comparison).values()
    assert list(result.unfinished) == ["inference"]
    (again,) = train(compare("diesonceininference", resume=True, **settings)).values()
    assert not again.unfinished
    log = comparison.folder.log_path(result.cell).read_text()
    parameters = find_model("lenet5").parameters((1, 12, 12), 3)
    start = initial_weights(parameters, 0)["conv1.bias"][0]
    assert f"inference with {start + 10}" in log.splitlines(), log


def test_old_results_that_diverged_are_read_so(compare):
    comparison = compare("sound")
    (result,) = train(comparison).values()
    nan = result.test.model_copy(update={"loss": float("nan")})
    comparison.folder.write_result(result.model_copy(update={"test": nan, "extras": {}}))
    (kept,) = comparison.folder.results()
    assert (kept.status, kept.error) == ("diverged", "a loss is not finite")


def test_the_machine_probe_may_fail(compare, measured, monkeypatch):
    """Nothing is said of the machine then, and the training goes on."""
    monkeypatch.setattr(
        MachineProbe, "_start", lambda probe: processes.start("no_such_module", **PIPES)
    )
    comparison = compare("sound")
    (result,) = train(comparison).values()
    assert result.status == "ok"
    assert [epoch.conditions for epoch in result.epochs] == [None, None]
    assert comparison.folder.machine is None


def test_what_a_person_must_mend_stops_the_run(compare):
    comparison = compare("usererror", "sound", seeds=(0, 1))
    with pytest.raises(BenchError, match=r"^something a person can fix$"):
        run(comparison)
    assert [name for name, phase in comparison.observer.phases].count("usererror") == 3
    assert comparison.folder.results() == []


def test_resume_trains_only_what_is_missing(compare, monkeypatch, tmp_path):
    flag = tmp_path / "flag"
    monkeypatch.setenv("PLANTED_FILE", str(flag))
    before = train(compare("sound", "failswithoutfile", seeds=(0, 1)))
    assert [r.status for r in before.values()] == ["ok", "failed", "failed", "ok"]
    flag.touch()
    comparison = compare("sound", "failswithoutfile", seeds=(0, 1), resume=True)
    missing = comparison.folder.path / "cells" / "sound-lenet5-small-s1.json"
    missing.unlink()
    after = train(comparison)
    assert [r.status for r in after.values()] == ["ok"] * 4
    assert comparison.observer.ended == ["sound", "failswithoutfile", "failswithoutfile", "sound"]
    assert comparison.observer.resumed == [True, False, False, False]
    first = "sound-lenet5-small-s0"
    assert after[first] == before[first]


PIPES = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.DEVNULL,
    "text": True,
}
EXAMPLES = ("example_rows", "example_outputs", "example_images")


def examples(comparison, cell):
    arrays = comparison.folder.read_arrays(cell)
    return [getattr(arrays, name) for name in EXAMPLES]


def test_the_first_to_finish_chooses_the_examples_of_all(compare, small_file):
    comparison = compare("failsinsecondepoch", "sound", "othermind", seeds=(3, 4))
    train(comparison)
    _, sound, other = comparison.groups[0]
    rows, outputs, images = examples(comparison, sound)
    # Class 0 is always predicted; of equals the first errors of each class, the first correct.
    assert rows.tolist() == [1, 2, 4, 5, 0, 3]
    assert outputs.tolist() == [0] * 6
    with open_dataset(small_file) as data:
        np.testing.assert_array_equal(images, data.split("test").images(rows))
    for mine, theirs in zip((rows, outputs, images), examples(comparison, other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    arrays = comparison.folder.read_arrays(other)
    assert arrays.test_logits.argmax(axis=1).tolist() == [1] * 12
    np.testing.assert_array_equal(arrays.example_maps, np.full((6, 4, 4), 2, np.float32))
    later = [cell for cell in comparison.groups[1] if cell.framework == "sound"]
    assert examples(comparison, *later) == [None] * 3, "one seed is enough"


def test_resume_shows_what_a_finished_cell_has_chosen(compare, monkeypatch, tmp_path):
    flag = tmp_path / "flag"
    monkeypatch.setenv("PLANTED_FILE", str(flag))
    train(compare("failswithoutfile", "othermind"))
    flag.touch()
    comparison = compare("failswithoutfile", "othermind", resume=True)
    train(comparison)
    late, first = comparison.cells
    for mine, theirs in zip(examples(comparison, late), examples(comparison, first), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert set(examples(comparison, late)[1].tolist()) == {1}, "it would have shown 0 itself"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("failsinmaps", "ValueError: no maps today"),
        ("wrongmaps", "wrongmaps returned activation maps of shape (6, 4) for 6 images"),
    ],
)
def test_a_fault_in_the_maps_loses_nothing_else(compare, name, message):
    comparison = compare(name, "sound")
    without, sound = train(comparison).values()
    assert without.status == sound.status == "ok"
    extra = without.extras["examples"]
    assert (extra.state, extra.message) == ("failed", message)
    assert len(examples(comparison, sound.cell)[0]) == 6
    assert comparison.folder.read_arrays(without.cell).example_maps is None
    assert comparison.folder.weights_path(without.cell).exists()


def test_what_differs_from_a_file_of_initial_weights_is_recorded(compare, tmp_path):
    card = find_model("lenet5")
    weights = initial_weights(card.parameters((3, 12, 12), 5), seed=9)
    save_weights(tmp_path / "start.h5", weights, model="lenet5")
    training = {"epochs": 1, "batch_size": 8, "initial_weights": str(tmp_path / "start.h5")}
    (result,) = train(compare("sound", training=training)).values()
    assert result.adapted == ("conv1.weight", "dense3.weight", "dense3.bias")
    assert next(iter(train(compare("sound", out="drawn")).values())).adapted == ()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"epochs": 3}, "experiment"),
        ({"seeds": (1,)}, "experiment"),
        ({"models": ["lenet5-relu"]}, "experiment"),
    ],
)
def test_resume_refuses_another_experiment(compare, changes, what):
    compare("sound")
    with pytest.raises(BenchError, match=f"holds a run with another {what}: resume with"):
        compare("sound", resume=True, **changes)
    assert compare("sound", resume=True).cells


def test_resume_refuses_other_data(compare, small_file, small_dataset, tmp_path, monkeypatch):
    from harness.data.writer import write_dataset

    path = write_dataset(tmp_path / "mine.h5", small_dataset())
    compare("sound", datasets=[str(path)])
    write_dataset(path, small_dataset(sizes=(41, 9, 12)))
    with pytest.raises(BenchError, match="holds a run with another dataset"):
        compare("sound", datasets=[str(path)], resume=True)


TIMED = """
import numpy as np
from planted import CountsSteps

class Notes(CountsSteps):
    \"\"\"Prints what is asked of it after the test.\"\"\"
    def infer(self, images):
        assert images.dtype == np.uint8
        print(len(images), flush=True)
        return super().infer(images)
    def profile(self, order, rates):
        print(f"profiled:{len(order)}", flush=True)
        return {"convolution": 3.0, "other": 1.0}

class AnswersTooFew(CountsSteps):
    def infer(self, images):
        return super().infer(images)[1:]
"""


@pytest.fixture
def timed(compare, planted, tmp_path, monkeypatch):
    (tmp_path / "timed.py").write_text(TIMED)
    for name in ("Notes", "AnswersTooFew"):
        spec = replace(planted["sound"], name=name.lower(), factory=f"timed:{name}")
        monkeypatch.setitem(planted, spec.name, spec)
    return compare


def test_rounds_beyond_the_epochs_leave_the_training_alone(timed):
    plain = train(timed("notes", "sound", out="plain"))
    comparison = timed("notes", "sound", rounds=5, out="timed")
    results = train(comparison)
    for name, result in results.items():
        assert [len(result.epochs), len(result.extra_rounds)] == [2, 3]
        assert len(result.images_per_second) == 5
        assert result.test.model_copy(update={"seconds": 0}) == plain[name].test.model_copy(
            update={"seconds": 0}
        )
        for each in result.rounds:
            assert each.images == 40
            assert each.conditions.gemm_gflops > 0
    first = comparison.cells[0]
    # The weights that are kept are those after two epochs of five steps, not after five rounds.
    parameters = find_model("lenet5").parameters((1, 12, 12), 3)
    kept = load_weights(comparison.folder.weights_path(first), parameters)
    start = initial_weights(parameters, 0)
    assert kept["conv1.bias"][0] == start["conv1.bias"][0] + 10
    assert comparison.folder.machine.threads == 1


def test_answers_and_profile_of_the_first_seed_only(timed):
    comparison = timed("notes", seeds=(3, 4), inference=(1, 16, 50), profile=True)
    first, second = train(comparison).values()
    assert [latency.batch_size for latency in first.inference] == [1, 16, 50]
    assert all(latency.first_s > 0 and len(latency.seconds) >= 30 for latency in first.inference)
    assert first.warm_up.steps >= 8
    assert first.operations == {"convolution": 3.0, "other": 1.0}
    said = comparison.folder.log_path(first.cell).read_text().split()
    # 12 test images are repeated.
    assert list(dict.fromkeys(said)) == ["1", "16", "50", "profiled:5"]
    assert (second.inference, second.operations) == ((), {})


def test_inference_of_the_wrong_shape_fails(timed):
    (result,) = train(timed("answerstoofew", inference=(4,))).values()
    assert result.status == "ok"
    assert "3 answers for 4 images" in result.unfinished["inference"].message


@pytest.mark.parametrize("rejects", [False, True])
def test_a_warm_start_has_the_caches_of_the_first(compare, planted, monkeypatch, rejects):
    def caches(folder):
        made.append(folder)
        rejecting = {"PLANTED_REJECTS": ""} if rejects else {}
        return {"PLANTED_CACHE": str(folder / "programs"), **rejecting}

    made = []
    monkeypatch.setitem(planted, "compiles", replace(planted["compiles"], caches=caches))
    comparison = compare("compiles", "sound", seeds=(3, 4), sessions=2)
    first, plain, other, _ = train(comparison).values()
    (cache,) = first.warm_start.caches
    assert (cache.name, cache.files) == ("programs", 2)
    assert cache.bytes > 20
    assert cache.rejected == (("programs/other",) if rejects else ())
    assert first.warm_start.phases.import_s > 0
    assert plain.warm_start.caches == ()
    assert other.warm_start is None, "the first seed is enough"
    # The first start and its warm one share a folder; every other start is cold.
    assert len(made) == 5
    assert len({*made}) == 4
    assert made[0] == made[1]
    assert not any(folder.exists() for folder in made)


def test_a_warm_start_that_fails_loses_nothing_else(compare, planted, monkeypatch):
    calls = itertools.count()

    def caches(folder):
        return {"PLANTED_CACHE": str(folder / ("no" if next(calls) else ".") / "programs")}

    monkeypatch.setitem(planted, "compiles", replace(planted["compiles"], caches=caches))
    (result,) = train(compare("compiles")).values()
    assert list(result.unfinished) == ["warm start"]
    assert "FileNotFoundError" in result.unfinished["warm start"].message
    assert result.extras["examples"].state == "done"
    assert result.warm_start is None


def test_a_warm_start_can_be_left_out(compare):
    (result,) = train(compare("sound", warm_start=False)).values()
    assert "warm start" not in result.extras


def test_further_sessions_are_new_processes_interleaved(compare):
    """Every framework is started anew, warmed up, timed and paired by session."""
    comparison = compare("sound", "allocates", sessions=3)
    one, two = train(comparison).values()
    assert [len(restart.rounds) for restart in one.restarts] == [6, 6]
    sessions = [restart.session for restart in one.restarts]
    assert sessions == [restart.session for restart in two.restarts]
    assert len({one.session, *sessions}) == 3
    assert one.session == two.session != ""
    starts = [phase for name, phase in comparison.observer.phases if name == "sound"]
    assert starts.count("importing") == 4, "the training, its warm start, two further sessions"
    assert not one.unfinished
    assert "--sessions 3" in comparison.folder.manifest.command

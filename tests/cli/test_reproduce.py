"""``bench reproduce``: what came out equal, what did not, and what cannot be made again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.analysis.reproduce import array_agreement, compare_cells
from harness.config import parse_experiment
from harness.data.writer import write_dataset
from harness.execution.runner import prepare, run
from harness.results.folder import RunFolder


@pytest.fixture
def held(made_up, tmp_path):
    """The cells of two made-up runs, the second as the keywords say, by framework."""

    def held(change=lambda path: None, first=None, **how):
        tag = len(list(tmp_path.iterdir()))
        one = made_up(f"one{tag}", **(first or {}))
        other = made_up(f"other{tag}", **((first or {}) | how))
        change(other)
        found = compare_cells(RunFolder.open(one), RunFolder.open(other))
        return found, {each.cell.framework: each for each in found.cells}

    return held


def edit(**fields):
    """Replaces arrays of the framework 'swift'."""

    def change(path):
        folder = RunFolder.open(path)
        cell = next(cell for cell in folder.manifest.cells if cell.framework == "swift")
        arrays = folder.read_arrays(cell)
        changed = {name: alter(getattr(arrays, name)) for name, alter in fields.items()}
        folder.write_arrays(cell, arrays.model_copy(update=changed))

    return change


def test_the_same_is_reproduced_bit_for_bit(held):
    found, cells = held()
    assert found.reproduced
    swift = cells["swift"]
    assert swift.bitwise
    assert (swift.reasons, swift.first_loss, swift.accuracy_p) == ((), 0, 1)
    assert swift.speed.verdict == "no difference shown"
    assert swift.speed.normalised
    assert found.differences == ()


@pytest.mark.parametrize(
    ("alter", "status", "reproduced"),
    [
        (lambda losses: losses * (1 + 1e-6), "equal within rounding", True),
        (lambda losses: losses * [1, 1, 1.1, 1], "not equal", True),  # as training may amplify
        (lambda losses: losses * [1.1, 1, 1, 1], "not equal", False),
        (lambda losses: losses * [np.nan, 1, 1, 1], "not equal", False),
    ],
)
def test_losses(held, alter, status, reproduced):
    found, cells = held(edit(step_losses=alter))
    assert cells["swift"].losses.status == status
    assert found.reproduced is reproduced
    assert cells["tidy"].bitwise
    if not reproduced:
        assert "already the first loss differs" in cells["swift"].reasons[0]


def test_logits(held):
    _, cells = held(edit(test_logits=lambda logits: logits + np.float32(1e-5)))
    assert cells["swift"].logits.status == "equal within rounding"
    assert 0 < cells["swift"].logits.largest < 1e-5
    assert not cells["swift"].bitwise


def test_bitwise_means_every_bit():
    one = np.array([0.0, np.nan])
    assert array_agreement(one, one.copy(), 1, largest=float("nan")).status == "bitwise equal"
    assert array_agreement(one, -one, 1, largest=0.0).status == "equal within rounding"
    assert array_agreement(one, one.astype(np.float32), 1, largest=0.0).status != "bitwise equal"
    assert array_agreement(one, one + 1, 1, largest=float("nan")).largest is None


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"quality": 1.0}, "accuracy 0."),
        ({"weights": "other"}, "not the same initial weights"),
        ({"rate": 200.0}, "slower on the same kind of processor"),
        ({"rate": 5000.0}, "faster on the same kind of processor"),
        ({"failed": ["swift"]}, "failed: out of luck"),
        ({"missing": ["swift"]}, "has not run again"),
    ],
)
def test_what_did_not_come_out_equal(held, how, reason):
    found, cells = held(**how)
    assert not found.reproduced
    assert any(reason in each for each in cells["swift"].reasons)


def test_another_processor_may_be_slower(held):
    found, cells = held(rate=200.0, cpu="another", versions={"numpy": "3.0.0"})
    assert cells["swift"].speed.verdict == "slower"
    assert found.reproduced
    assert found.differences == ("cpu: made up, another", "numpy: 2.0.0, 3.0.0")


def test_a_framework_that_is_not_ready_here(held):
    found, cells = held(frameworks=("swift",), skipped={"tidy": "not installed"})
    assert cells["tidy"].reasons == ("not ready here: not installed",)
    assert cells["swift"].reasons == ()
    assert not found.reproduced


def test_one_accuracy_of_many_may_differ_by_chance(held):
    """What one cell alone would call different is not, where ten were compared."""

    def flip(logits):
        rows = np.arange(len(logits))
        changed = logits.copy()
        right = rows[logits.argmax(axis=1) == rows % 3][:7]
        changed[right, right % 3] = -9
        return changed

    names = tuple(f"swift-{n}" for n in range(9))
    for others, p in (((), 2 / 2**7), (names, 20 / 2**7)):
        _, cells = held(edit(test_logits=flip), first={"frameworks": ("swift", *others)})
        assert cells["swift"].accuracy_p == pytest.approx(p)
        assert (cells["swift"].reasons == ()) is (p > 0.05)


@pytest.fixture
def trained(planted, small_dataset, tmp_path):
    """A run of planted backends on data of its own: the data file and the folder."""

    def train(*frameworks):
        data = write_dataset(tmp_path / "data" / "small.h5", small_dataset())
        settings = {
            "frameworks": frameworks, "datasets": [str(data)], "threads": 1,
            "warm_start": False, "training": {"epochs": 2, "batch_size": 8},
        }  # fmt: skip
        comparison = prepare(
            parse_experiment(settings, where="test"), out=tmp_path / "run", data_dir=tmp_path
        )
        assert {result.status for result in run(comparison)} == {"ok"}
        return data, tmp_path / "run"

    return train


def test_a_run_is_made_again(trained, planted_bench, verb, tmp_path):
    data, run = trained("sound", "countssteps")
    moved = data.rename(tmp_path / data.name)
    again = tmp_path / "again"
    words = ("reproduce", run, "--out", again, "--data-dir", moved.parent)
    got = planted_bench(*words)
    assert got.returncode == 0, got.stderr
    assert "reproduced: sound-lenet5-small-s0: losses bitwise equal; logits bitwise" in got.stdout
    assert "too few rounds" in got.stdout
    assert "threads" not in got.stderr
    stored = json.loads((again / "reproduction.json").read_text())
    assert stored["original"] == str(run)
    assert [cell["reasons"] for cell in stored["cells"]] == [[], []]
    assert (again / "report.md").is_file()
    refused = verb(*words)
    assert refused.exit_code == 2
    assert "already holds a run" in refused.stderr


def test_what_fails_the_second_time_is_told(trained, planted_bench, tmp_path, monkeypatch):
    file = tmp_path / "there"
    file.touch()
    monkeypatch.setenv("PLANTED_FILE", str(file))
    _, run = trained("failswithoutfile")
    file.unlink()
    words = ("reproduce", run, "--out", tmp_path / "again")
    got = planted_bench(*words)
    assert got.returncode == 1, got.stderr
    assert "NOT reproduced: failswithoutfile-lenet5-small-s0: failed: " in got.stdout
    assert "1 of 1 cells not reproduced" in got.stderr
    file.touch()
    got = planted_bench(*words, "--resume")
    assert got.returncode == 0, got.stderr


def test_other_data_are_refused_before_any_work(trained, verb, small_dataset, tmp_path):
    data, run = trained("sound")
    words = ("reproduce", run, "--out", tmp_path / "again", "--data-dir", tmp_path / "none")
    data.unlink()
    got = verb(*words)
    assert (got.exit_code, got.stdout) == (2, "")
    assert f"the data of the run, {data}, are gone; " in got.stderr
    write_dataset(data, small_dataset(sizes=(41, 9, 12)))
    got = verb(*words)
    assert (got.exit_code, got.stdout) == (2, "")
    assert f"{data}: not the data of the run (SHA-256 " in got.stderr
    assert not (tmp_path / "again").exists()


def test_the_same_data_from_another_source_are_accepted(trained, verb, small_dataset, tmp_path):
    data, run = trained("sound")
    before = data.read_bytes()
    source = [{"file": "elsewhere.csv", "sha256": "0" * 64}]
    write_dataset(data, small_dataset(source=source, license="another"))
    assert data.read_bytes() != before
    got = verb("reproduce", run, "--out", tmp_path / "again")
    assert got.exit_code == 0, got.output


def test_pytorch_on_one_thread_repeats_every_bit(ready, bench, tmp_path):
    ready("torch")
    words = ("--frameworks", "torch", "--datasets", "digits", "--epochs", 1, "--threads", 1,
             "--no-warm-start")  # fmt: skip
    run = tmp_path / "run"
    got = bench("run", *words, "--data-dir", tmp_path, "--out", run)
    assert got.returncode == 0, got.stderr
    got = bench("reproduce", run, "--out", tmp_path / "again")
    assert got.returncode == 0, got.stderr
    assert "losses bitwise equal; logits bitwise equal" in got.stdout


def test_resuming_needs_a_folder(verb, made_up):
    got = verb("reproduce", made_up(), "--resume")
    assert got.exit_code == 2
    assert "name its folder with --out DIR" in got.stderr

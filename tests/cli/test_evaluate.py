"""``bench evaluate``: the table, the file of logits, and bad input in one line."""

from __future__ import annotations

import tempfile

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.data.schema import Split
from harness.data.writer import write_dataset
from harness.execution.evaluation import largest_difference
from harness.plugins import find_model
from harness.protocol.weights import Origin, initial_weights, save_weights

ORIGIN = {"image_shape": (1, 12, 12), "classes": ("a", "b", "c"), "task": "multiclass"}


@pytest.fixture
def weights(tmp_path):
    """Writes a weight file for the small data set; keywords replace what it says of its origin."""

    def make(model="lenet5", shape=(1, 12, 12), outputs=3, **origin):
        parameters = find_model(model).parameters(shape, outputs)
        path = tmp_path / "w.h5"
        origin = Origin(**(ORIGIN | origin))
        save_weights(path, initial_weights(parameters, seed=0), model=model, origin=origin)
        return path

    return make


@pytest.fixture
def evaluate(planted, small_file, tmp_path, monkeypatch):
    """Runs ``bench evaluate`` with planted backends; what is kept of logs goes to ``logs``."""
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "logs"))

    def evaluate(weights, *arguments, framework="sound", dataset=small_file):
        words = ["evaluate", "--weights", weights, "--framework", framework, "--dataset", dataset,
                 "--data-dir", tmp_path / "data", "--threads", 1, *arguments]  # fmt: skip
        return CliRunner().invoke(main, list(map(str, words)))

    return evaluate


@pytest.fixture
def refused(evaluate, tmp_path):
    """The one line in which ``bench evaluate`` refuses; it leaves nothing behind."""

    def refused(weights, *arguments, code=2, **named):
        out = tmp_path / "refused.h5"
        got = evaluate(weights, "--out", out, *arguments, **named)
        assert got.exit_code == code, got.output
        assert got.stdout == ""
        (line,) = got.stderr.splitlines()
        assert line.startswith("error: ")
        assert not list(tmp_path.glob("*refused.h5*"))
        return line

    return refused


def test_the_table_and_the_file_of_logits(evaluate, weights, tmp_path):
    got = evaluate(weights(), "--out", tmp_path / "l.h5", framework="sound,talks")
    assert got.exit_code == 0, got.output
    heading, *rows = got.stdout.splitlines()
    columns = "framework model loss correct accuracy seconds images/s logits off by"
    assert heading.split() == columns.split()
    first, second = (row.split() for row in rows)
    # The planted logits answer class 0 with a logit of 1 against two of 0; a third is class 0.
    loss = f"{np.log(np.e + 2) - 1 / 3:.6f}"
    assert first[:5] == ["sound", "lenet5", loss, "4/12", "0.3333"]
    assert second[:5] == ["talks", "lenet5", loss, "4/12", "0.3333"]
    assert second[-1] == "0"
    assert len(second) == len(first) + 1
    with h5py.File(tmp_path / "l.h5") as file:
        assert dict(file.attrs) | {"classes": list(file.attrs["classes"])} == {
            "schema": "logits/1",
            "model": "lenet5",
            "dataset": "small",
            "split": "test",
            "task": "multiclass",
            "classes": ["a", "b", "c"],
        }
        assert file["labels"][...].tolist() == [0, 1, 2] * 4
        assert sorted(file["logits"]) == ["sound", "talks"]
        assert file["logits/talks"][...].tolist() == [[1, 0, 0]] * 12
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize(("split", "count"), [("train", "14/40"), ("val", "3/9")])
def test_another_split(evaluate, weights, split, count):
    got = evaluate(weights(), "--split", split)
    assert got.stdout.splitlines()[1].split()[3] == count


def test_labels_have_their_auroc_and_undefined_says_so(evaluate, weights, small_dataset, tmp_path):
    splits = small_dataset().splits
    labels = {
        name: np.stack([s.labels == 0, s.labels == 1, np.ones(len(s))], axis=1).astype(np.uint8)
        for name, s in splits.items()
    }
    path = write_dataset(
        tmp_path / "labels.h5",
        small_dataset(
            task="multilabel",
            classes=("[red]", "green", "always"),
            splits={name: Split(s.images, labels[name]) for name, s in splits.items()},
        ),
    )
    file = weights(task="multilabel", classes=("[red]", "green", "always"))
    got = evaluate(file, dataset=path)
    assert got.exit_code == 0, got.output
    heading, row, areas, *labels = got.stdout.splitlines()
    assert heading.split()[5] == "AUROC"
    assert row.split()[5] == "0.500000"  # planted logits rank nothing; of those that are defined
    assert areas.split() == ["AUROC", "of", "sound"]
    assert [line.split() for line in labels] == [
        ["[red]", "0.500000"], ["green", "0.500000"], ["always", "undefined"],
    ]  # fmt: skip


def test_weights_from_elsewhere_say_how_pixels_are_normalised(evaluate, weights):
    got = evaluate(weights(dataset="far-away"))
    assert got.exit_code == 0
    assert "trained on 'far-away'; the pixels of 'small' are normalised by" in got.stderr
    assert evaluate(weights(dataset="small")).stderr == ""


def test_a_file_that_says_nothing_of_its_network_needs_its_name(evaluate, refused, weights):
    file = weights()
    with h5py.File(file, "a") as opened:
        for name in set(opened.attrs) - {"schema"}:
            del opened.attrs[name]
    assert "does not say of which network it is: name it with --model" in refused(file)
    got = evaluate(file, "--model", "lenet5-relu")
    assert got.stdout.splitlines()[1].split()[:2] == ["sound", "lenet5-relu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--framework", "sount"], "unknown framework 'sount'; did you mean 'sound'?"),
        (["--framework", "sound,sound"], "names something twice: sound, sound"),
        (["--framework", "sound,absent"], "'absent' not installed: no_such_package_anywhere"),
        (["--dataset", "digitz"], "digitz"),
        (["--dataset", "no/such.h5"], "no such file"),
        (["--model", "lenet6"], "unknown model 'lenet6'; did you mean 'lenet5'?"),
        (["--model", "lenet5-relu"], "w.h5 holds weights of 'lenet5', not of 'lenet5-relu'"),
        (["--split", "tests"], "unknown split 'tests'; did you mean 'test'?"),
        (["--threads", "0"], "threads: input should be greater than or equal to 1"),
        (["--threads", "few"], "threads"),
        (["--precision", "float16"], "training.precision: input should be 'float32' or 'float64'"),
    ],
)
def test_faulty_options(refused, weights, arguments, message):
    assert message in refused(weights(), *arguments)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"image_shape": (1, 13, 12)}, "was trained on images of 1x13x12 (CxHxW), those of"),
        ({"classes": ("a", "c", "b")}, "was trained for the classes a, c, b, "),
        ({"classes": tuple("abcdefg")}, "for the classes a, b, c, d, e and 2 more, "),
        ({"task": "multilabel"}, "was trained for a multilabel task, "),
        ({"outputs": 5, "classes": None}, "dense3.weight has shape (5, 84), the network wants (3,"),
        ({"shape": (1, 28, 28)}, "dense1.weight has shape (120, 400), the network wants (120, 16)"),
    ],
)
def test_weights_that_do_not_fit(refused, weights, small_file, made, message):
    file = weights(**made)
    line = refused(file)
    assert message in line
    assert str(file) in line
    assert str(small_file) in line


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.write_text("torch"), "cannot read weights from"),
        (lambda path: path.write_bytes(path.read_bytes()[:-500]), "cannot read weights from"),
    ],
)
def test_damaged_weight_files(refused, weights, damage, message):
    file = weights()
    damage(file)
    line = refused(file)
    assert message in line
    assert str(file) in line


def test_a_data_set_is_no_weight_file(refused, small_file):
    assert "is not a weight file of schema weights/1" in refused(small_file)


def test_a_network_of_another_version(refused, weights):
    file = weights()
    with h5py.File(file, "a") as opened:
        opened.attrs["model"] = "lenet7"
    assert f"{file}: unknown model 'lenet7'" in refused(file)


def test_a_file_of_logits_that_is_there_is_replaced_only_by_force(evaluate, weights, tmp_path):
    out = tmp_path / "l.h5"
    out.write_text("precious")
    got = evaluate(weights(), "--out", out)
    assert (got.exit_code, got.stdout) == (2, "")
    assert f"{out} exists already: pass --force" in got.stderr
    assert out.read_text() == "precious"
    assert evaluate(weights(), "--out", out, "--force").exit_code == 0
    assert h5py.is_hdf5(out)


@pytest.mark.parametrize(
    ("framework", "message"),
    [
        ("cannotbemade", "cannotbemade: TypeError: cannot be made (its output: "),
        ("wronglogits", "wronglogits: it returned logits of shape (12, 2), not (12, 3)"),
        ("altersweights", "altersweights: it did not take over the weights of conv1.weight"),
        ("losesweights", "losesweights: it did not take over the weights of conv1.weight"),
    ],
)
def test_a_framework_that_fails_is_one_line_and_keeps_its_log(
    refused, weights, tmp_path, framework, message
):
    line = refused(weights(), framework=f"sound,{framework}", code=1)
    assert message in line
    (log,) = (tmp_path / "logs").iterdir()
    assert str(log) in line
    assert ("Traceback" in log.read_text()) == (framework == "cannotbemade")


def test_a_network_that_diverged_is_a_result(evaluate, weights):
    got = evaluate(weights(), framework="sound,predictsnothing")
    assert got.exit_code == 0, got.output
    row = got.stdout.splitlines()[2].split()
    assert row[2:4] == ["nan", "0/12"]
    assert row[-1] == "nan"


def test_the_largest_difference():
    a = np.array([[1, 2], [3, 4]], np.float32)
    b = np.array([[1, 2.5], [2, 4]], np.float32)
    assert largest_difference(a, b) == largest_difference(b, a) == 1
    assert np.isnan(largest_difference(a, np.full_like(a, np.nan)))
    assert np.isnan(largest_difference(a * np.inf, a * np.inf))

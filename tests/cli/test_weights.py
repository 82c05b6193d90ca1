"""``bench weights export``: out of a run's folder, whole, with what they were trained on."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.config import parse_experiment
from harness.execution.runner import prepare
from harness.execution.runner import run as execute
from harness.plugins import find_model
from harness.protocol.weights import Origin, digest, initial_weights, read_weights

PARAMETERS = find_model("lenet5").parameters((1, 12, 12), 3)


@pytest.fixture
def run(planted, small_file, tmp_path):
    """A run of which one cell is trained, one failed and one has not ended."""
    experiment = parse_experiment(
        {
            "frameworks": ["sound", "raises", "talks"],
            "datasets": [str(small_file)],
            "seeds": [4],
            "threads": 1,
            "training": {"epochs": 1, "batch_size": 8},
        },
        where="test",
    )
    comparison = prepare(experiment, out=tmp_path / "run", data_dir=tmp_path)
    execute(comparison)
    folder = comparison.folder
    for suffix in (".json", ".h5", ".weights.h5"):
        (folder.path / "cells" / f"talks-lenet5-small-s4{suffix}").unlink()
    return folder


@pytest.fixture
def export(run, tmp_path, monkeypatch):
    """Runs ``bench weights export`` in a folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def export(*arguments, folder=run.path):
        return CliRunner().invoke(main, ["weights", "export", *map(str, (folder, *arguments))])

    return export


def refusal(got):
    assert got.exit_code == 2, got.output
    assert got.stdout == ""
    (line,) = got.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_the_file_holds_the_weights_and_their_origin(export, run, tmp_path):
    got = export("sound-lenet5-small-s4")
    assert (got.exit_code, got.stdout) == (0, "sound-lenet5-small-s4.weights.h5\n"), got.output
    file = read_weights(tmp_path / "here" / "sound-lenet5-small-s4.weights.h5")
    assert file.model == "lenet5"
    assert file.origin == Origin(
        framework="sound",
        dataset="small",
        task="multiclass",
        seed=4,
        image_shape=(1, 12, 12),
        classes=("a", "b", "c"),
    )
    # Planted backends learn nothing.
    assert digest(file.fitting(PARAMETERS)) == digest(initial_weights(PARAMETERS, seed=4))
    assert [entry.name for entry in (tmp_path / "here").iterdir()] == [file.path.name]


def test_a_file_that_is_there_is_replaced_only_by_force(export, tmp_path):
    out = tmp_path / "kept.h5"
    out.write_text("precious")
    assert f"{out} exists already: pass --force" in refusal(
        export("sound-lenet5-small-s4", "--out", out)
    )
    assert out.read_text() == "precious"
    assert export("sound-lenet5-small-s4", "--out", out, "--force").exit_code == 0
    assert read_weights(out).model == "lenet5"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "sound-lenet5-small-s5",
            "unknown cell 'sound-lenet5-small-s5'; did you mean 'sound-lenet5-small-s4'? (known: "
            "sound-lenet5-small-s4, raises-lenet5-small-s4, talks-lenet5-small-s4)",
        ),
        ("raises-lenet5-small-s4", "failed, so it has no weights: ValueError: the planted fault"),
        ("talks-lenet5-small-s4", "has not ended yet"),
    ],
)
def test_a_cell_without_weights(export, tmp_path, cell, message):
    assert message in refusal(export(cell))
    assert list((tmp_path / "here").iterdir()) == []


def test_what_is_damaged_or_no_run_at_all(export, run, tmp_path):
    cell = "sound-lenet5-small-s4"
    assert "holds no run" in refusal(export(cell, folder=tmp_path / "here"))
    assert "is a folder" in refusal(export(cell, "--out", tmp_path))
    nowhere = run.path / "experiment.json" / "w.h5"
    assert f"cannot write {nowhere}" in refusal(export(cell, "--out", nowhere))
    path = run.path / "cells" / f"{cell}.weights.h5"
    path.write_bytes(path.read_bytes()[:-500])
    assert f"cannot read weights from {path}" in refusal(export(cell))
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("words", [["weights", "export"], ["evaluate"]])
def test_help_is_instant(python, words):
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"try: main({[*words, '--help']!r})\n"
        "except SystemExit: print(sorted({'h5py', 'numpy', 'rich', 'torch'} & set(sys.modules)))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr

"""``bench parity``: sound frameworks agree, and a fault is named by the stage that shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.backends.registry import BACKENDS
from harness.cli import main
from harness.parity import Trace, compare, deviation

FAULTS = Path(__file__).parents[1] / "regression"


@pytest.fixture
def parity(tmp_path, monkeypatch, ready):
    """``parity(fault, *words)``: PyTorch, with a fault planted, against PyTorch."""
    ready("torch")

    def parity(fault, *words):
        if fault is not None:
            spec = replace(BACKENDS["torch"], name="faulty", factory=f"planted:{fault}")
            monkeypatch.setitem(BACKENDS, "faulty", spec)
            monkeypatch.setenv("PYTHONPATH", str(FAULTS))
        return CliRunner().invoke(
            main,
            ["parity", "--frameworks", "torch" if fault is None else "faulty", "--steps", "2",
             "--threads", "1", "--data-dir", str(tmp_path), *words],
        )  # fmt: skip

    return parity


def stages(output):
    """Stage -> the last word of its row."""
    rows = [line.split() for line in output.splitlines()[1:]]
    return {" ".join(row[2:4]) if row[2] == "step" else row[2]: row[-1] for row in rows}


@pytest.mark.parametrize(
    ("fault", "first"),
    [("FlippedKernel", "logits"), ("SummedLoss", "loss"), ("WrongRate", "step 1")],
)
def test_a_fault_shows_at_its_stage_and_not_before(parity, fault, first):
    got = parity(fault)
    assert got.exit_code == 1, got.output
    found = stages(got.stdout)
    order = ["logits", "loss", "gradients", "step 1", "step 2"]
    assert list(found) == order
    before = order[: order.index(first)]
    assert all(found[stage] == "agrees" for stage in before)
    assert found[first] == "DEVIATES"
    complaint = next(line for line in got.stderr.splitlines() if line.startswith("error: "))
    assert complaint.startswith("error: faulty, lenet5: ")
    assert f" at {first}" in complaint


def test_single_precision_agrees_within_its_own_tolerance(parity):
    got = parity(None, "--precision", "float32", "--each")
    assert got.exit_code == 0, got.output
    assert "conv2.weight" in got.stdout
    assert "DEVIATES" not in got.stdout
    assert got.stdout.count("gradients") == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "--steps is 0"),
        (["--batch-size", "100000"], "choose a smaller --batch-size"),
        (["--models", "lenet"], "did you mean 'lenet5'"),
        (["--models", "densenet121"], "larger --size"),
        (["--precision", "float16"], "training.precision"),
        (["--lr", "0"], "learning_rate"),
    ],
)
def test_what_a_person_can_mend(parity, words, message):
    got = parity(None, *words)
    assert got.exit_code == 2, got.output
    complaint = [line for line in got.stderr.splitlines() if line.startswith("error: ")]
    assert len(complaint) == 1
    assert message in complaint[0]


def test_deviations_are_relative_to_the_largest_magnitude():
    reference = np.array([[1.0, -4.0], [0.0, 2.0]])
    moved = reference + np.array([[0, 0], [0.4, 0]])
    found = deviation("gradients", "w", moved, reference)
    assert found.value == pytest.approx(0.1)
    assert found.place == (1, 0)
    assert deviation("x", "", reference, reference).value == 0
    assert deviation("x", "", [0.0, 0.5], [0.0, 0.0]).value == 0.5
    assert deviation("x", "", [np.nan, 1.0], [1.0, 1.0]).value == np.inf
    assert deviation("x", "", [1.0], [1.0, 1.0]).value == np.inf


def test_a_missing_parameter_is_a_deviation():
    def of(**gradients):
        arrays = {name: np.array([value]) for name, value in gradients.items()}
        return Trace(
            logits=np.ones((1, 2)), loss=1.0, gradients=arrays, losses=np.ones(1), states={}
        )

    found = compare(of(a=1.0), of(a=1.0, b=2.0))
    assert (found[-1].name, found[-1].value) == ("b", np.inf)

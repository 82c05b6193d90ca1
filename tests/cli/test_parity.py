"""``bench parity``: valid frameworks agree, and a fault is named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.parity.cases import standard_plans
from harness.parity.certificate import read_certificate
from harness.parity.deviations import by_name, compare, deviation, tolerances
from harness.parity.trace import make_plan, perturbed
from harness.plugins import backends

FAULTS = Path(__file__).parents[1] / "regression"


@pytest.fixture
def parity(tmp_path, monkeypatch, ready):
    """``parity(fault, *words)``: PyTorch, with a fault planted, against the reference."""
    ready("torch")

    def parity(fault, *words):
        if fault is not None:
            spec = replace(backends()["torch"], name="faulty", factory=f"planted:{fault}")
            monkeypatch.setitem(backends(), "faulty", spec)
            monkeypatch.setenv("PYTHONPATH", str(FAULTS))
        return CliRunner().invoke(
            main,
            ["parity", "--frameworks", "torch" if fault is None else "faulty", "--steps", "2",
             "--threads", "1", *words, *("--dataset", "digits", "--data-dir", str(tmp_path))],
        )  # fmt: skip

    return parity


def stages(output):
    """Stage -> the last word of its row."""
    rows = (re.split(r"\s{2,}", line.strip()) for line in output.splitlines()[1:])
    return {row[3]: row[-1].split()[-1] for row in rows}


@pytest.mark.parametrize(
    ("fault", "first", "named"),
    [
        ("FlippedKernel", "logits", "conv2: kernel flipped (convolution where cross-correlation "),
        ("WrongRate", "step 1", "learning rate: 0.01 times what it should be"),
    ],
)
def test_a_fault_shows_at_its_stage_and_is_named(parity, fault, first, named):
    got = parity(fault)
    assert got.exit_code == 1, got.output
    found = stages(got.stdout)
    single = ["logits", "loss", "gradients", "step 1", "step 2", "losses", "augmentation"]
    order = [*single, "predictions", "inference"]
    for epoch in ("epoch 1", "epoch 2", "epoch 3"):
        order += [f"{epoch} losses", epoch, f"{epoch} predictions", f"{epoch} inference"]
    assert list(found) == order
    before = order[: order.index(first)]
    assert all(found[stage] == "agrees" for stage in before)
    assert found[first] == "DEVIATES"
    (complaint,) = (line for line in got.stderr.splitlines() if line.startswith("error: "))
    assert complaint.startswith(f"error: faulty, lenet5 on digits: {named}")


def test_single_precision_agrees_within_its_own_tolerance(parity):
    got = parity(None, "--precision", "float32", "--each")
    assert got.exit_code == 0, got.output
    assert "conv2.weight" in got.stdout
    assert "DEVIATES" not in got.stdout
    assert got.stdout.count("gradients") == 10


def test_the_certificate_of_a_run(parity, tmp_path, ready):
    ready("torch")
    out = tmp_path / "run"
    words = ["--frameworks", "torch", "--epochs", "1", "--threads", "1", "--rounds", "0",
             "--no-warm-start", "--no-parity"]  # fmt: skip
    ran = CliRunner().invoke(main, ["run", *words, "--out", str(out), "--data-dir", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert read_certificate(out) is None
    got = CliRunner().invoke(main, ["parity", "--run", str(out), "--steps", "2"])
    assert got.exit_code == 0, got.output
    (section,) = read_certificate(out).sections
    assert (section.model, section.dataset, section.batch_size) == ("lenet5", "digits", 64)
    (compared,) = section.comparisons
    assert len(compared.single_losses) == len(section.reference_losses) == 2
    assert compared.single_losses == pytest.approx(section.reference_losses, rel=1e-4)
    assert compared.single_losses != section.reference_losses
    refused = CliRunner().invoke(main, ["parity", "--run", str(out), "--models", "xraynet"])
    assert refused.exit_code == 2
    assert "leave --models out" in refused.output


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
def test_what_a_person_can_fix(parity, words, message):
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
    assert found.position == (1, 0)
    assert deviation("x", "", reference, reference).value == 0
    assert deviation("x", "", [0.0, 0.5], [0.0, 0.0]).value == 0.5
    assert deviation("x", "", [np.nan, 1.0], [1.0, 1.0]).value == np.inf
    assert deviation("x", "", [1.0], [1.0, 1.0]).value == np.inf


def test_a_missing_parameter_is_a_deviation():
    ones = {"a": np.ones(1), "b": np.ones(1)}
    found = compare({"gradients": {"a": np.ones(1)}}, {"gradients": ones})
    assert [(d.name, d.value) for d in found] == [("a", 0.0), ("b", np.inf)]
    assert [d.name for d in by_name("x", ones, {"a": np.ones(1)})] == ["a", "b"]


def test_a_plan_hides_nothing(tmp_path):
    """Rates that change, and no array that is zero or one throughout."""
    rule = Optimizer(learning_rate=0.1)
    plan = make_plan(
        "xraynet", "xray-phantom", data_dir=tmp_path, optimizer=rule,
        batch_size=4, steps=5, threads=1,
    )  # fmt: skip
    assert len(set(plan.rates.tolist())) == 5
    assert plan.rates.max() == pytest.approx(0.1)
    assert all(np.ptp(array) > 0 for array in plan.weights.values() if array.size > 1)
    assert min(array.min() for name, array in plan.weights.items() if "var" in name) > 0.5
    assert len({tuple(move) for move in plan.augmentation[0].tolist()}) > 1
    drawn = {"w": np.array([1.0, 2.0])}
    assert perturbed(drawn, 0)["w"] is drawn["w"]


@pytest.mark.parametrize("model", ["lenet5", "densenet121"])
def test_standard_cases_hide_nothing(model, tmp_path):
    plans = standard_plans(model, folder=tmp_path, steps=2, threads=1)
    assert {plan.optimizer.name for plan in plans} == {"sgd", "adam", "adamw"}
    assert all(plan.optimizer.weight_decay for plan in plans)
    shapes, tasks = set(), set()
    for plan in plans:
        with open_dataset(plan.dataset) as data:
            shapes.add(data.image_shape)
            tasks.add(data.task)
            assert bool(plan.positive_weights) == (data.task == "multilabel")
            assert len(set(data.image_shape[1:])) == 2
            assert set(plan.examples) == {"train", "val", "test"}
            assert data.sizes["test"] % 256
    assert {shape[0] for shape in shapes} == {1, 3}
    assert tasks == {"multiclass", "multilabel"}


def test_options_of_a_data_set_need_one(ready):
    ready("torch")
    got = CliRunner().invoke(main, ["parity", "--frameworks", "torch", "--lr", "0.1"])
    assert got.exit_code == 2
    assert "--lr needs a data set" in got.output


def test_the_standard_cases_are_proven_without_any_option(ready):
    ready("torch")
    got = CliRunner().invoke(main, ["parity", "--frameworks", "torch", "--steps", "1",
                                    "--threads", "1"])  # fmt: skip
    assert got.exit_code == 0, got.output
    assert {row.split()[2] for row in got.stdout.splitlines()[1:]} == {
        "grey-multiclass-sgd-20x16", "colour-multilabel-adam-20x16",
        "colour-multiclass-adamw-20x16",
    }  # fmt: skip


def test_of_a_deep_network_a_plan_takes_less(tmp_path):
    """What the reference can compute in minutes."""
    settings = {"data_dir": tmp_path, "optimizer": Optimizer(), "batch_size": 64, "threads": 1}
    small, deep = (
        make_plan(model, "xray-phantom", steps=100, **settings) for model in ("xraynet", "resnet18")
    )
    assert small.batches.shape == (100, 64)
    assert 4 <= deep.batches.shape[1] < 64
    assert 3 <= deep.batches.shape[0] < 100
    assert deep.augmentation.shape[1] == deep.batches.shape[1]
    assert np.array_equal(deep.batches, small.batches[: len(deep.batches), : deep.batches.shape[1]])
    assert len(deep.examples.get("test", ())) < len(small.examples["test"])


def test_a_tolerance_is_at_least_what_rounding_makes_of_the_reference():
    drift = {"logits": 1e-3, "step 1": 1e-13, "step 100": 1e-7, "epoch 2": 1e-11, "epoch 3": 0.1}
    found = tolerances("float64", drift)
    assert found["logits"] == 1e-9, "what is computed once has a fixed tolerance"
    assert found["step 1"] == found["epoch 2"] == 1e-8
    assert found["step 100"] == pytest.approx(32e-7)
    assert "epoch 3" not in found, "where rounding alone leads that far, nothing is evaluated"

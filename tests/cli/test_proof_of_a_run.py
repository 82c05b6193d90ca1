"""``bench run`` ends with the proof of what it trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.config import Optimizer
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.parity import QUICK_STEPS
from harness.parity.certificate import read_certificate
from harness.parity.trace import DEEP, make_plan
from harness.plugins import backends, find_model

FAULTS = Path(__file__).parents[1] / "regression"


@pytest.fixture
def run(small_dataset, tmp_path):
    """``bench run`` in this process, of one epoch on a few digits of 28x28 pixels."""
    data = write_dataset(tmp_path / "few.h5", small_dataset((64, 16, 32), (1, 28, 28)))
    words = ["run", "--datasets", data, "--epochs", 1, "--batch-size", 8, "--threads", 1,
             "--rounds", 0, "--no-warm-start", "--out", tmp_path / "run"]  # fmt: skip

    def run(*more: object) -> Result:
        return CliRunner().invoke(main, [*map(str, [*words, *more])])

    return run


def test_a_framework_that_deviates_is_told_and_the_run_kept(run, ready, tmp_path, monkeypatch):
    ready("torch")
    faulty = replace(backends()["torch"], name="faulty", factory="planted:FlippedKernel")
    monkeypatch.setitem(backends(), "faulty", faulty)
    monkeypatch.setenv("PYTHONPATH", str(FAULTS))
    got = run("--frameworks", "torch,faulty")
    assert got.exit_code == 1, got.output
    (complaint,) = (line for line in got.stderr.splitlines() if line.startswith("error: "))
    assert complaint.startswith("error: faulty, lenet5 on few: conv2: kernel flipped")
    certificate = read_certificate(tmp_path / "run")
    assert (certificate.frameworks, certificate.holds) == ({"torch", "faulty"}, False)
    (section,) = certificate.sections
    sound, wrong = section.comparisons
    assert not any(stage.beyond for stage in sound.stages)
    assert any(stage.beyond for stage in wrong.stages)
    assert section.steps == QUICK_STEPS
    drift = section.drift
    assert (drift.framework, drift.seed, drift.steps) == ("torch", 0, 8)
    assert 0 < drift.largest(8)[-1] < 1e-4  # of so short a training of LeNet-5
    report = (tmp_path / "run" / "report.md").read_text()
    assert "**Not all compute the same:** PyTorch" in report
    # A certificate of all that was trained is not made again.
    before = (tmp_path / "run" / "parity.json").stat().st_mtime_ns
    assert run("--frameworks", "torch,faulty", "--resume").exit_code == 1
    assert (tmp_path / "run" / "parity.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(("words", "code"), [((), 1), (("--no-parity",), 0)])
def test_a_proof_that_cannot_be_made_loses_nothing(
    run, planted, tmp_path, monkeypatch, words, code
):
    def fail(*_: object, **__: object) -> None:
        raise BenchError("few.h5 holds other data")

    monkeypatch.setattr("harness.parity.certificate.certify", fail)
    got = run("--frameworks", "sound", *words)
    assert got.exit_code == code, got.output
    told = "error: parity was not proven: few.h5 holds other data" in got.stderr
    assert told is not bool(words)
    assert (tmp_path / "run" / "report.md").is_file()


def test_a_brief_proof_of_a_deep_network_has_its_steps_alone(small_dataset, tmp_path):
    """Compilers take minutes for every batch size of these."""
    data = write_dataset(tmp_path / "few.h5", small_dataset((20, 8, 8), (1, 32, 32)))
    how = {"data_dir": tmp_path, "optimizer": Optimizer(), "batch_size": 4, "steps": 3,
           "threads": 1}  # fmt: skip
    deep = make_plan("resnet18", data, **how, brief=True)
    assert deep.stages == ("logits", "loss", "gradients", "step 1", "step 2", "step 3", "losses",
                           "augmentation")  # fmt: skip
    assert "epoch 3" in make_plan("resnet18", data, **how).stages
    shallow = make_plan("lenet5", data, **how, brief=True)
    assert "epoch 3" in shallow.stages
    assert set(shallow.examples) == {"val", "test"}, "a run does not predict what it trains on"
    assert "train" in make_plan("lenet5", data, **how).examples
    many = write_dataset(tmp_path / "many.h5", small_dataset((20, 20_000, 8), (1, 28, 28)))
    plan = make_plan("lenet5", many, **how, brief=True)
    assert set(plan.examples) == {"test"}, "predicting so many takes long"
    counts = {name: len(find_model(name).parameters((1, 64, 64), 2)) for name in
              ("lenet5", "xraynet", "resnet18", "densenet121")}  # fmt: skip
    assert {name for name, count in counts.items() if count >= DEEP} == {"resnet18", "densenet121"}

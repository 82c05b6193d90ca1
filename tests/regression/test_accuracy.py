"""Every framework is as accurate as it was when its baseline was stored.

``baselines.json`` comes from real runs, through ``bench baseline update``. The real MNIST digits
and NIH's chest X-rays are used where they lie beside the checkout; scikit-learn's digits and the
synthetic phantoms always.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.importers.base import ImportOptions
from harness.data.importing import import_path
from harness.results.baseline import Baseline, departure, read_baselines

BASELINES = read_baselines(Path(__file__).with_name("baselines.json"))
SHARED = Path(__file__).parents[3] / "shared" / "datasets"
MNIST10K, NIH1000 = SHARED / "mnist10k", SHARED / "nih1000"
# A cold compilation for every cell would cost minutes; parity covers that variant.
CHECKED = [b for b in BASELINES if b.framework != "torch-compile"]


DEEP = {"resnet18", "densenet121"}


def named(baseline: Baseline) -> str:
    return f"{baseline.framework}-{baseline.model}"


DIGITS = [b for b in CHECKED if b.dataset == "digits"]
MNIST = [b for b in CHECKED if b.dataset == "mnist10k" and b.model == "lenet5"]
PHANTOMS = [b for b in CHECKED if b.dataset == "xray-phantom"]
NIH = [b for b in CHECKED if b.dataset == "nih1000"]


@pytest.mark.parametrize("baseline", DIGITS, ids=named)
def test_digits(baseline: Baseline, train: Callable) -> None:
    results = train(baseline.framework, baseline.model, "digits", baseline.training, (0, 1))
    assert departure(baseline, results) is None


@pytest.mark.skipif(not MNIST10K.is_dir(), reason=f"{MNIST10K} is not here")
@pytest.mark.parametrize("baseline", MNIST, ids=named)
def test_mnist10k(baseline: Baseline, train: Callable, tmp_path: Path) -> None:
    dataset = import_path(MNIST10K, "mnist10k", tmp_path / "mnist10k.h5")
    results = train(baseline.framework, baseline.model, str(dataset), baseline.training, (0,))
    assert departure(baseline, results) is None


@pytest.mark.parametrize("baseline", PHANTOMS, ids=named)
def test_phantoms(baseline: Baseline, train: Callable) -> None:
    results = train(baseline.framework, baseline.model, "xray-phantom", baseline.training, (0,))
    assert departure(baseline, results) is None


def import_nih1000(folder: Path) -> Path:
    return import_path(
        NIH1000,
        "nih1000",
        folder / "nih1000.h5",
        format="nih",
        options=ImportOptions(size=(64, 64), task="binary"),
    )


@pytest.mark.skipif(not NIH1000.is_dir(), reason=f"{NIH1000} is not here")
@pytest.mark.parametrize("baseline", NIH, ids=named)
def test_nih1000(baseline: Baseline, train: Callable, tmp_path: Path) -> None:
    dataset = import_nih1000(tmp_path)
    results = train(baseline.framework, baseline.model, str(dataset), baseline.training, (0,))
    assert departure(baseline, results) is None


def test_labels_in_another_order_trip_the_gate(train: Callable) -> None:
    stored = next(b for b in PHANTOMS if b.framework == "torch")
    fault = "planted:LabelsReversed"
    results = train("torch", "xraynet", "xray-phantom", stored.training, (0,), factory=fault)
    assert "below the expected" in (departure(stored, results) or "")


def of_torch() -> Baseline:
    return next(b for b in DIGITS if named(b) == "torch-lenet5")


def test_a_wrong_learning_rate_trips_the_gate(train: Callable) -> None:
    stored = of_torch()
    results = train("torch", "lenet5", "digits", stored.training, (0,), factory="planted:WrongRate")
    assert "below the expected" in (departure(stored, results) or "")


@pytest.mark.skipif(not MNIST10K.is_dir(), reason=f"{MNIST10K} is not here")
def test_an_evaluation_that_sees_the_answers_trips_the_gate(
    train: Callable, tmp_path: Path
) -> None:
    """On many test images only: among the few digits, all correct is not out of the question."""
    stored = next(b for b in MNIST if b.framework == "torch")
    dataset = import_path(MNIST10K, "mnist10k", tmp_path / "mnist10k.h5")
    short = stored.training.model_copy(update={"epochs": 1})
    results = train("torch", "lenet5", str(dataset), short, (0,), factory="planted:SeesTheAnswers")
    assert "above the expected" in (departure(stored, results) or "")


def test_every_framework_and_model_has_a_baseline() -> None:
    from harness.plugins import backends, models

    covered = {"digits": ["lenet5", "lenet5-relu"], "xray-phantom": ["xraynet"]}
    for dataset, names in covered.items():
        rows = [name for name, spec in backends().items() if spec.by_default]
        wanted = {(framework, model) for framework in rows for model in names}
        assert {(b.framework, b.model) for b in BASELINES if b.dataset == dataset} == wanted
    # On a processor the deep ones train too long for a test; parity holds them together.
    assert set(models()) == {m for models in covered.values() for m in models} | DEEP

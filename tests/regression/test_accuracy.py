"""Every framework is as accurate as it was when its baseline was stored.

``baselines.json`` comes from real runs, through ``bench baseline update``. For each data set one
framework trains to the end and is checked against its baseline; the others train for the first
epochs beside it and must reach the same losses (parity holds the arithmetic together). The real
MNIST digits and NIH's chest X-rays are used where they lie beside the checkout; scikit-learn's
digits and the synthetic phantoms always.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.baseline import Baseline, read_baselines
from harness.analysis.gate import check_metrics
from harness.config import Optimizer, Training
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.plugins import backends, models
from harness.results.records import CellResult

BASELINES = {
    (b.dataset, b.model, b.framework): b
    for b in read_baselines(Path(__file__).with_name("baselines.json"))
}
SHARED = Path(__file__).parents[3] / "shared" / "datasets"
MNIST10K, NIH1000 = SHARED / "mnist10k", SHARED / "nih1000"
NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")
DEEP = {"resnet18", "densenet121"}


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What ``--datasets`` takes for a data set; a real one is imported, or the test skipped."""

    def dataset(name: str) -> str:
        folders = {"mnist10k": MNIST10K, "nih1000": NIH1000}
        if name not in folders:
            return name
        if not folders[name].is_dir():
            pytest.skip(f"{folders[name]} is not here")
        target = tmp_path_factory.mktemp("data") / f"{name}.h5"
        if name == "mnist10k":
            return str(import_path(MNIST10K, name, target))
        options = ImportOptions(size=(64, 64), task="binary")
        return str(import_path(NIH1000, name, target, format="nih", options=options))

    return dataset


@pytest.mark.parametrize(
    ("dataset", "model", "framework", "seeds"),
    [
        ("digits", "lenet5", "torch", (0,)),
        ("digits", "lenet5-relu", "jax", (0,)),
        ("xray-phantom", "xraynet", "torch", (0,)),
        pytest.param("mnist10k", "lenet5", "julia-reference", (0,), marks=NIGHTLY),
        pytest.param("nih1000", "xraynet", "jax", (0,), marks=NIGHTLY),
    ],
)
def test_a_whole_training(
    dataset: str,
    model: str,
    framework: str,
    seeds: tuple[int, ...],
    train: Callable,
    find: Callable,
) -> None:
    baseline = BASELINES[dataset, model, framework]
    results = train([framework], model, find(dataset), baseline.training, seeds)
    assert check_metrics(baseline, results).status == "passed"


@pytest.mark.parametrize(
    ("dataset", "model", "tolerance"),
    # Rounding grows from step to step: with tanh slowly, through maxima and normalisation faster.
    [
        ("digits", "lenet5", 1e-4),
        pytest.param("digits", "lenet5-relu", 0.01, marks=NIGHTLY),
        ("xray-phantom", "xraynet", 0.01),
    ],
)
def test_the_first_epochs_are_those_of_every_framework(
    dataset: str, model: str, tolerance: float, train: Callable
) -> None:
    training = Training(epochs=2, optimizer=Optimizer(learning_rate=0.02))
    present = [
        name
        for name, spec in backends().items()
        # Parity holds the tuned variants to their base.
        if spec.by_default and spec.role != "tuned" and spec.missing() is None
    ]
    results = train(present, model, dataset, training, (0,))
    first = results[0]
    assert first.epochs[-1].loss < 0.9 * first.epochs[0].loss
    for result in results:
        assert result.status == "ok", result.error
        for epoch, expected in zip(result.epochs, first.epochs, strict=True):
            assert epoch.loss == pytest.approx(expected.loss, rel=tolerance), result.cell
            assert epoch.val_loss == pytest.approx(expected.val_loss, rel=tolerance), result.cell


def failed(baseline: Baseline, results: list[CellResult]) -> list[str]:
    """Metrics that leave their bounds, and on which side."""
    return [
        f"{each.metric} {'above' if each.value > each.bounds.high else 'below'}"
        for each in check_metrics(baseline, results).metrics
        if each.status == "failed"
    ]


def test_labels_in_another_order_trip_the_gate(train: Callable) -> None:
    stored = BASELINES["xray-phantom", "xraynet", "torch"]
    fault = "planted:LabelsReversed"
    results = train(["torch"], "xraynet", "xray-phantom", stored.training, (0,), factory=fault)
    assert failed(stored, results) == ["auroc below"]


def test_a_wrong_learning_rate_trips_the_gate(train: Callable) -> None:
    stored = BASELINES["digits", "lenet5", "torch"]
    fault = "planted:WrongRate"
    results = train(["torch"], "lenet5", "digits", stored.training, (0,), factory=fault)
    assert failed(stored, results) == ["accuracy below"]


def test_an_evaluation_that_sees_the_answers_trips_the_gate(
    train: Callable, find: Callable
) -> None:
    """On many test images only: among the few digits, all correct is not out of the question."""
    stored = BASELINES["mnist10k", "lenet5", "torch"]
    short = stored.training.model_copy(update={"epochs": 1})
    fault = "planted:SeesTheAnswers"
    results = train(["torch"], "lenet5", find("mnist10k"), short, (0,), factory=fault)
    assert failed(stored, results) == ["accuracy above"]


def test_every_framework_and_model_has_a_baseline() -> None:
    covered = {"digits": ["lenet5", "lenet5-relu"], "xray-phantom": ["xraynet"]}
    for dataset, names in covered.items():
        rows = [name for name, spec in backends().items() if spec.by_default]
        wanted = {(framework, model) for framework in rows for model in names}
        assert {(f, m) for d, m, f in BASELINES if d == dataset} == wanted
    # On a processor the deep ones train too long for a test; parity holds them together.
    assert set(models()) == {m for models in covered.values() for m in models} | DEEP

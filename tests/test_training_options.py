"""Augmentation, class weights, initial weights: from the command line to the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.config import Experiment, load_experiment
from harness.data.schema import SPLITS, ImageDataset, Split
from harness.data.writer import write_dataset
from harness.plugins import backends, find_model
from harness.protocol.weights import initial_weights, load_weights, save_weights
from harness.results.folder import RunFolder

DOCS = Path(__file__).parents[1] / "docs"
PARAMETERS = find_model("xraynet").parameters((1, 32, 32), 2)

pytestmark = pytest.mark.skipif(backends()["torch"].missing() is not None, reason="needs PyTorch")


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """A few small noisy images with two rare labels, and the same with two classes."""
    folder = tmp_path_factory.mktemp("radiographs")
    random = np.random.default_rng(0)
    for name, task in (("labels", "multilabel"), ("classes", "multiclass")):
        splits = {}
        for split in SPLITS:
            labels = (random.random((40, 2)) < 0.3).astype(np.uint8)
            labels = labels if task == "multilabel" else labels[:, 0]
            splits[split] = Split(random.integers(0, 256, (40, 1, 32, 32), np.uint8), labels)
        dataset = ImageDataset(name=name, task=task, classes=("one", "two"), splits=splits)
        write_dataset(folder / f"{name}.h5", dataset)
    return folder


@pytest.fixture
def bench(radiographs, tmp_path, monkeypatch):
    """``bench(*words)``: two steps of xraynet in PyTorch; its result and the run."""
    monkeypatch.chdir(tmp_path)

    def bench(*words, dataset="labels", out="run"):
        got = CliRunner().invoke(
            main,
            ["run", "--frameworks", "torch", "--models", "xraynet", "--threads", "1",
             "--datasets", str(radiographs / f"{dataset}.h5"),
             "--epochs", "1", "--batch-size", "20", "--accuracy-only",
             "--no-parity", "--lr", "0.01", "--out", out, *words],
        )  # fmt: skip
        return got, RunFolder.open(Path(out)) if got.exit_code == 0 else None

    return bench


def trained(folder):
    (cell,) = folder.manifest.cells
    return folder.read_result(cell), load_weights(folder.weights_path(cell), PARAMETERS)


def test_what_is_asked_for_reaches_the_network_and_the_record(bench):
    """Each option changes the trained weights; the same command repeats them."""
    options = {
        "plain": (),
        "flip": ("--flip",),
        "shift": ("--shift", "3"),
        "positives": ("--positive-weights", "balanced"),
        "adamw": ("--optimizer", "adamw", "--weight-decay", "0.5"),
        "adam": ("--optimizer", "adam", "--weight-decay", "0.5"),
        "plain again": ("--no-flip",),
    }
    weights, augmentation = {}, {}
    for name, words in options.items():
        got, folder = bench(*words, out=name)
        assert got.exit_code == 0, got.output
        result, weights[name] = trained(folder)
        augmentation[name] = result.identity.augmentation
        # The command in the manifest asks for the same.
        assert set(words) <= set(folder.manifest.command.split())
    kernels = {name: w["conv1.weight"].tobytes() for name, w in weights.items()}
    assert kernels["plain"] == kernels.pop("plain again")
    assert len(set(kernels.values())) == len(kernels)
    assert augmentation["plain"] == augmentation["positives"] == "none"
    assert len({augmentation["plain"], augmentation["flip"], augmentation["shift"]}) == 3
    drawn = initial_weights(PARAMETERS, 0)
    assert not np.array_equal(weights["plain"]["bn1.running_var"], drawn["bn1.running_var"])


def test_training_starts_from_the_file(bench, radiographs, tmp_path):
    start = initial_weights(PARAMETERS, seed=77)
    save_weights(tmp_path / "start.h5", start, model="xraynet")
    got, folder = bench("--initial-weights", "start.h5", "--lr", "1e-12")
    assert got.exit_code == 0, got.output
    _, weights = trained(folder)
    assert np.allclose(weights["conv5.weight"], start["conv5.weight"], atol=1e-6)
    assert len(folder.manifest.initial_weights_sha256) == 64
    # A run that goes on must start from the same numbers.
    save_weights(tmp_path / "start.h5", initial_weights(PARAMETERS, seed=78), model="xraynet")
    got, _ = bench("--initial-weights", "start.h5", "--lr", "1e-12", "--resume")
    assert got.exit_code == 2
    assert "another file of initial weights" in got.stderr


def refusal(got):
    assert got.exit_code == 2, got.output
    (line,) = [line for line in got.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_what_a_person_can_mend(bench, tmp_path):
    got, _ = bench("--positive-weights", "balanced", dataset="classes")
    assert "leave --positive-weights out" in refusal(got)
    got, _ = bench("--shift", "32")
    assert "choose a smaller --shift" in refusal(got)
    got, _ = bench("--initial-weights", "nowhere.h5")
    assert "nowhere.h5: No such file" in refusal(got)
    lenet = find_model("lenet5").parameters((1, 32, 32), 2)
    save_weights(tmp_path / "lenet.h5", initial_weights(lenet, 0), model="lenet5")
    got, _ = bench("--initial-weights", "lenet.h5")
    assert "weights of 'lenet5', not of 'xraynet'" in refusal(got)
    assert not Path("run").exists()


def test_a_gpu_that_is_not_there(bench):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    got, _ = bench("--device", "gpu")
    assert "PyTorch finds no GPU here" in refusal(got)


def test_the_recipe_of_the_docs_is_an_experiment():
    experiment = load_experiment(DOCS / "chexnet.toml", {})
    assert isinstance(experiment, Experiment)
    assert experiment.models == ("densenet121",)
    assert experiment.training.initial_weights == Path("densenet121-imagenet.h5")
    # The steps before it make the files that it names.
    recipe = (DOCS / "chexnet.md").read_text()
    assert f"--out {experiment.training.initial_weights}" in recipe
    assert all(f"--name {name} " in recipe for name in experiment.datasets)

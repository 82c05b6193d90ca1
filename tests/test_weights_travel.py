"""Weights travel: trained in one framework they score the same in every other."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from harness.backends.base import TrainingJob
from harness.cli import main
from harness.config import Training, parse_experiment
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.data.schema import SPLITS, ImageDataset, Split
from harness.data.writer import write_dataset
from harness.execution.evaluation import Evaluator, largest_difference, prepare
from harness.execution.inputs import TrainingInputs
from harness.execution.runner import prepare as prepare_run
from harness.execution.runner import run as run_plan
from harness.plugins import backends, find_model
from harness.protocol.weights import (
    Origin,
    digest,
    initial_weights,
    read_weights,
    save_weights,
)

# torch-compile would compile from cold, for a minute; its layers are those of torch.
NAMES = [
    name
    for name in ("torch", "jax", "knet", "julia-reference")
    if backends()[name].missing() is None
]
PAIRS = [(trained, judge) for trained in NAMES for judge in NAMES if trained != judge]
ROUNDING = 1e-5  # of the largest logit, in float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the data sets: digits, and the same pictures with the four bits of them as labels."""
    folder = tmp_path_factory.mktemp("travel")
    splits = {}
    with open_dataset(resolve("digits", folder)) as data:
        for name in SPLITS:
            split = data.split(name)
            bits = split.labels[:, None] >> np.arange(4, dtype=np.uint8) & 1
            splits[name] = Split(split.all_images(), bits)
    dataset = ImageDataset(
        name="digit-bits", task="multilabel", classes=("1", "2", "4", "8"), splits=splits
    )
    write_dataset(folder / "digit-bits.h5", dataset)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """Two epochs of every framework on digits, as `bench run` trains."""
    if len(NAMES) < 2:
        pytest.skip("one framework has nowhere to travel to")
    experiment = parse_experiment(
        {
            "frameworks": NAMES,
            "datasets": ["digits"],
            "accuracy_only": True,
            "training": {"epochs": 2},
        },
        where="test",
    )
    comparison = prepare_run(experiment, out=folder / "run", data_dir=folder)
    assert {result.status for result in run_plan(comparison)} == {"ok"}
    return comparison.folder


def _train_on_bits(worker, path):
    """Two epochs of a network with running statistics: they must travel too."""
    training = Training(epochs=2)
    with open_dataset(path, memory_budget=0) as data:
        parameters = find_model("xraynet").parameters(data.image_shape, data.outputs)
        weights = initial_weights(parameters, seed=0)
        inputs = TrainingInputs.make(weights, training, data.sizes["train"], seed=0)
    task = TrainingJob(
        model="xraynet", dataset=path, optimizer=training.optimizer, precision="float32",
        threads=1,
    )  # fmt: skip
    worker.build(task, inputs.weights)
    for order, rates in zip(inputs.orders, inputs.rates, strict=True):
        worker.train_epoch(order, rates)
    return worker.save_weights()


@pytest.fixture(scope="module")
def judged(run, folder):
    """Weight files {(data set, trained in)} and scores {(data set, trained in, judged by)}.

    One process for each framework: it trains on the bits, and judges what all have trained.
    """
    files, scores = {}, {}
    for cell in run.manifest.cells:
        files["digits", cell.framework] = file = folder / f"{cell}.h5"
        words = ["weights", "export", run.path, cell.id, "--out", file]
        done = CliRunner().invoke(main, list(map(str, words)))
        assert done.exit_code == 0, done.output
    with ExitStack() as stack:
        evaluators = {
            name: stack.enter_context(Evaluator.start(backends()[name], threads=1))
            for name in NAMES
        }
        for name, evaluator in evaluators.items():
            files["digit-bits", name] = file = folder / f"{name}-bits.h5"
            weights = _train_on_bits(evaluator.worker, folder / "digit-bits.h5")
            save_weights(file, weights, model="xraynet", origin=Origin(framework=name))
        for judge, evaluator in evaluators.items():
            for (dataset, trained), file in files.items():
                request = prepare(
                    file, frameworks=[judge], dataset=dataset, data_dir=folder, threads=1
                )
                scores[dataset, trained, judge] = evaluator.score(request)
    return files, scores


@pytest.fixture(scope="module")
def scores(judged):
    return judged[1]


def _undecided(logits, other, labels):
    """Share of the pairs of a positive and a negative that rounding may put in either order, (L,).

    An area under the ROC curve counts pairs in order: one that rounding turns over moves it by
    more than any rounding. Two sets of logits can differ only about pairs closer than this.
    """
    slack = 2 * np.abs(logits - other).max()
    shares = []
    for score, label in zip(logits.T, labels.T, strict=True):
        gaps = np.abs(score[label == 1][:, None] - score[label == 0][None])
        shares.append((gaps <= slack).mean())
    return np.array(shares)


@pytest.mark.parametrize("dataset", ["digits", "digit-bits"])
@pytest.mark.parametrize(("trained", "judge"), PAIRS)
def test_a_network_scores_elsewhere_as_at_home(scores, folder, dataset, trained, judge):
    home, away = scores[dataset, trained, trained], scores[dataset, trained, judge]
    assert away.evaluation.correct == home.evaluation.correct
    assert away.evaluation.loss == pytest.approx(home.evaluation.loss, rel=ROUNDING)
    scale = np.abs(home.logits).max()
    assert largest_difference(away.logits, home.logits) <= ROUNDING * scale
    if dataset == "digit-bits":
        with open_dataset(folder / "digit-bits.h5", memory_budget=0) as data:
            labels = data.split("test").labels
        allowed = 1e-6 + _undecided(home.logits, away.logits, labels)
        areas = [np.array(score.evaluation.auroc) for score in (home, away)]
        assert (np.abs(areas[1] - areas[0]) <= allowed).all()
        assert min(areas[0]) > 0.7  # chance is 0.5


@pytest.mark.parametrize("name", NAMES)
def test_at_home_it_scores_as_at_the_end_of_its_training(run, scores, name):
    (cell,) = (cell for cell in run.manifest.cells if cell.framework == name)
    test, logits = run.read_result(cell).test, run.read_arrays(cell).test_logits
    score = scores["digits", name, name]
    assert score.evaluation.correct == test.correct
    assert largest_difference(score.logits, logits) <= ROUNDING * np.abs(logits).max()


def test_the_weights_of_each_framework_are_its_own(scores):
    """Else the comparisons above would compare nothing."""
    for dataset in ("digits", "digit-bits"):
        logits = [scores[dataset, name, NAMES[0]].logits for name in NAMES]
        assert len({array.tobytes() for array in logits}) == len(NAMES)


def test_the_command_in_several_frameworks(bench, judged, folder):
    files, scores = judged
    names = NAMES[:2]
    out = folder / "logits.h5"
    done = bench(
        "evaluate", "--weights", files["digit-bits", names[1]], "--framework", ",".join(names),
        "--dataset", "digit-bits", "--data-dir", folder, "--threads", 1, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heading, *rows = (line.split() for line in done.stdout.splitlines()[: len(names) + 1])
    assert heading[:6] == ["framework", "model", "loss", "correct", "accuracy", "AUROC"]
    with h5py.File(out) as file:
        for name, row in zip(names, rows, strict=True):
            score = scores["digit-bits", names[1], name]
            judged = score.evaluation
            assert row[:2] == [name, "xraynet"]
            assert row[3] == f"{judged.correct}/{judged.examples}"
            assert float(row[5]) == pytest.approx(judged.mean_auroc, abs=2e-6)
            difference = largest_difference(file["logits"][name][...], score.logits)
            assert difference <= ROUNDING * np.abs(score.logits).max()
    assert 0 < float(rows[1][-1]) < 1e-3


@pytest.mark.skipif("torch" not in NAMES, reason="needs torch")
def test_the_plain_pytorch_of_the_docs(python, judged, folder, tmp_path):
    """Its network computes our logits from our file, and what it writes is that file again."""
    files, scores = judged
    text = (Path(__file__).parents[1] / "docs" / "weights.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "lenet5.h5").write_bytes(files["digits", NAMES[-1]].read_bytes())
    with open_dataset(folder / "digits.h5") as data:
        pixels = data.split("test").all_images() / np.float32(255)
        images = (pixels - data.mean.reshape(-1, 1, 1)) / data.std.reshape(-1, 1, 1)
    np.save(tmp_path / "images.npy", images.astype(np.float32))
    code = (
        f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks) + "\nimport numpy as np\n"
        "with torch.no_grad(): logits = network(torch.from_numpy(np.load('images.npy')))\n"
        "np.save('logits.npy', logits.numpy())\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    ours = scores["digits", NAMES[-1], "torch"].logits
    difference = largest_difference(np.load(tmp_path / "logits.npy"), ours)
    assert difference <= ROUNDING * np.abs(ours).max()
    written, read = (read_weights(tmp_path / name) for name in ("mine.h5", "lenet5.h5"))
    assert digest(written.weights) == digest(read.weights)
    assert (written.model, written.origin.image_shape) == (read.model, read.origin.image_shape)

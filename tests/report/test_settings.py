"""What a report says of the settings, and of the layers of the networks."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.analysis.summary import RunSummary
from harness.plugins import models
from harness.report.markdown import pages
from harness.report.sections.model import layers, running_statistics
from harness.results.folder import RunFolder

MakeRun = Callable[..., RunFolder]
NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip


def written(folder: RunFolder) -> str:
    return "".join(pages(RunSummary.read(folder)).values())


def setting(report: str, name: str) -> str:
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", report, re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_the_usual_settings(make_run: MakeRun) -> None:
    report = written(make_run(seeds=(0,)))
    assert setting(report, "augmentation: shift") == "none"
    assert setting(report, "class weights") == "none"
    assert setting(report, "initial weights") == "drawn by the protocol from the seed"
    assert setting(report, "device") == "CPU"
    assert setting(report, "weight decay") == "0"
    assert setting(report, "augmentation") == "none: nothing to compare"
    assert "positives counted more" not in report
    assert "file of initial weights" not in report


def test_every_setting_that_is_not_usual(make_run: MakeRun) -> None:
    folder = make_run(
        seeds=(0,), frameworks=("torch", "jax"), models=("densenet121",), task="multilabel",
        classes=NIH, device="gpu", image_shape=(1, 64, 64),
        identity={(name, 0): {"augmentation": "a" * 64} for name in ("torch", "jax")},
        adapted=("conv0.weight", "classifier.weight", "classifier.bias"),
        training={
            "optimizer": {"name": "adamw", "weight_decay": 0.05},
            "augmentation": {"flip": True, "shift": 3},
            "positive_weights": "balanced",
            "initial_weights": "/some/where/imagenet.h5",
        },
    )  # fmt: skip
    report = written(folder)
    assert setting(report, "optimiser") == "AdamW"
    assert setting(report, "weight decay") == "0.05"
    assert setting(report, "augmentation: horizontal flip") == "half of the images, at random"
    assert setting(report, "augmentation: shift") == "up to 3 px in each direction"
    assert setting(report, "class weights").startswith("balanced: negatives")
    assert setting(report, "device") == "GPU"
    assert "probabilities are higher than the labels are frequent" in report
    sha256 = folder.manifest.initial_weights_sha256
    assert setting(report, "initial weights") == f"file `imagenet.h5`, SHA-256 `{sha256}`"
    assert (
        "Of the file of initial weights, `classifier.weight` and `classifier.bias` were drawn anew "
        "from the seed, because the file has a head for other outputs; `conv0.weight` was summed "
        "over the colours" in report
    )
    assert "batches, augmentation and learning rates." in report
    assert setting(report, "augmentation") == "identical: yes (1 seed)"
    differs = re.search(r"^\| network \| (.*?) \| (.*?) \|", report, re.MULTILINE)
    assert differs is not None
    assert differs[1] == (
        "DenseNet-121, all of it trained from weights of a file (see the settings)"
    )
    assert differs[2] == "DenseNet-121, all of it trained, from ImageNet weights"


def test_a_start_from_scratch_is_said_beside_what_was_published(make_run: MakeRun) -> None:
    report = written(
        make_run(
            seeds=(0,),
            frameworks=("torch",),
            models=("densenet121",),
            classes=NIH,
            task="multilabel",
            image_shape=(1, 64, 64),
        )
    )
    assert setting(report, "image").startswith("64 x 64 pixels | 224 x 224 pixels")
    network = "DenseNet-121, all of it trained from scratch, weights drawn at random"
    assert setting(report, "network").startswith(f"{network} | DenseNet-121, all of it trained, ")
    assert setting(report, "data").startswith("digits | ChestX-ray14")
    assert setting(report, "images").startswith("632 in all: 512 training")


def test_a_file_taken_whole_is_said_to_be(make_run: MakeRun) -> None:
    folder = make_run(seeds=(0,), training={"initial_weights": "w.h5"})
    assert "All parameters start as the file of initial weights has them." in written(folder)


@pytest.mark.parametrize("model", models())
def test_layers_hold_every_trainable_parameter_once(make_run: MakeRun, model: str) -> None:
    (each,) = RunSummary.read(
        make_run(models=(model,), seeds=(0,), image_shape=(1, 64, 64))
    ).workloads
    workload = each.workload
    rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in layers(workload).splitlines()[2:]
    ]
    assert len(rows) < 20
    sizes = [int(row[3].strip("*").replace(",", "")) for row in rows]
    assert sum(sizes[:-1]) == sizes[-1] == models()[model].trainable_size((1, 64, 64), 10)
    assert bool(running_statistics(workload)) == (not model.startswith("lenet5"))


def test_layers_of_densenet_are_those_of_the_paper(make_run: MakeRun) -> None:
    folder = make_run(models=("densenet121",), seeds=(0,), image_shape=(3, 224, 224))
    (each,) = RunSummary.read(folder).workloads
    workload = each.workload
    shown = {row.split("|")[1].strip(" `"): row for row in layers(workload).splitlines()}
    assert "| 33,280 |" in shown["transition1"], "its own batch normalisation, no other"
    assert "| 2,158,080 |" in shown["denseblock4"]
    assert "| 2,048 |" in shown["average"], "the last batch normalisation"
    assert "| 83,648 running" not in running_statistics(workload)
    assert "83,648 running statistics" in running_statistics(workload)

"""What every framework computes from the same weights and batches, once per session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import Task
from harness.config import Optimizer, available_cpus
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.data.schema import SPLITS, ImageDataset, Split
from harness.data.writer import write_dataset
from harness.execution.worker import Worker
from harness.plugins import backends, find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order
from harness.protocol.positives import balancing_weights
from harness.protocol.weights import Weights, initial_weights

THREADS = min(2, len(available_cpus()))
BATCH = 64
RATE = 0.05
SGD = Optimizer(learning_rate=RATE)
# By model or framework. XLA compiles a network of 121 layers for minutes, and ten steps of it need
# no fast code. What torch-bf16 has beyond torch-compile, whose compilation is tested, is autocast.
QUICK = {
    "densenet121": {
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    },
    "torch-bf16": {"TORCH_COMPILE_DISABLE": "1"},
}


@dataclass(frozen=True)
class Trace:
    """Of one framework: the first batch in full, the loss of every step, the parameters then."""

    logits: np.ndarray
    loss: float
    gradients: Weights
    losses: np.ndarray
    """float64 (steps,)"""
    parameters_after_10: Weights
    maps: np.ndarray
    """Of the first images, after 10 steps."""


@dataclass(frozen=True)
class Course:
    """What all are trained on."""

    dataset: Path
    batches: np.ndarray
    """int64 (steps, batch)"""
    moves: np.ndarray | None = None
    positive_weights: tuple[float, ...] = ()


def write_bits(digits: Path, path: Path) -> Path:
    """The same pictures, with the bits of their digit as labels."""
    splits = {}
    with open_dataset(digits) as data:
        for name in SPLITS:
            split = data.split(name)
            bits = split.labels[:, None] >> np.arange(4, dtype=np.uint8) & 1
            splits[name] = Split(split.all_images(), bits)
    return write_dataset(
        path,
        ImageDataset(
            name="digit-bits", task="multilabel", classes=("1", "2", "4", "8"), splits=splits
        ),
    )


def write_small_xrays(phantoms: Path, path: Path) -> Path:
    """Every other pixel of a few phantoms: several labels an image, batch after batch unlike."""
    with open_dataset(phantoms) as data:
        splits = {}
        for name in SPLITS:
            split = data.split(name)
            small = np.ascontiguousarray(split.all_images()[:100, :, ::2, ::2])
            splits[name] = Split(small, split.labels[:100])
        return write_dataset(
            path,
            ImageDataset(
                name="small-xrays", task="multilabel", classes=data.classes, splits=splits
            ),
        )


def courses(folder: Path) -> dict[str, Course]:
    digits = resolve("digits", folder)
    with open_dataset(digits) as data:
        examples = data.sizes["train"]
    batches = np.concatenate(
        [epoch_order(examples, BATCH, seed=0, epoch=epoch) for epoch in range(6)]
    )[:100]
    xrays = write_small_xrays(resolve("xray-phantom", folder), folder / "small-xrays.h5")
    with open_dataset(xrays) as data:
        positive_weights = balancing_weights(data.split("train").labels)
    few = epoch_order(100, 8, seed=0, epoch=0)[:10]
    return {
        "digits": Course(digits, batches),
        "digit-bits": Course(write_bits(digits, folder / "digit-bits.h5"), batches),
        "small-xrays": Course(
            xrays,
            few,
            epoch_augmentation(*few.shape, 0, 0, flip=True, shift=3),
            positive_weights,
        ),
    }


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trace]:
    """``trace(framework, model, precision, optimizer)`` on scikit-learn's digits.

    With ``dataset="digit-bits"`` an image has the labels of the four bits of its digit; with
    ``dataset="small-xrays"`` images are moved and the positives of rare labels count more.
    """
    folder: Path = tmp_path_factory.mktemp("parity")
    known = courses(folder)

    @cache
    def run(
        framework: str,
        model: str,
        precision: str,
        optimizer: Optimizer = SGD,
        dataset: str = "digits",
    ) -> Trace:
        spec = backends()[framework]
        if (reason := spec.missing()) is not None:
            pytest.skip(f"{framework} {reason}")
        course = known[dataset]
        with open_dataset(course.dataset) as data:
            parameters = find_model(model).parameters(data.image_shape, len(data.classes))
        weights = initial_weights(parameters, seed=0)
        task = Task(
            model=model,
            dataset=course.dataset,
            optimizer=optimizer,
            precision=precision,
            threads=THREADS,
            positive_weights=course.positive_weights,
        )
        rates = np.full(len(course.batches), optimizer.learning_rate)

        def train(worker: Worker, steps: slice) -> np.ndarray:
            moves = None if course.moves is None else course.moves[steps]
            return worker.train_epoch(course.batches[steps], rates[steps], moves)[1]

        with Worker(
            spec,
            threads=THREADS,
            cpus=available_cpus(),
            environment={"TORCHINDUCTOR_CACHE_DIR": str(folder)}
            | QUICK.get(model, {})
            | QUICK.get(framework, {}),
        ) as worker:
            worker.import_framework()
            worker.build(task, weights)
            logits, loss, gradients = worker.loss_and_gradients(course.batches[0])
            # Looking must change nothing: neither parameters nor running statistics.
            held = worker.save_weights()
            assert all(np.array_equal(held[name], weights[name]) for name in weights)
            losses = train(worker, slice(0, 10))
            after_10 = worker.save_weights()
            rows = np.arange(6)
            maps = worker.activation_maps("train", rows, rows % logits.shape[1])
            if len(rates) > 10:
                losses = np.concatenate([losses, train(worker, slice(10, None))])
        return Trace(logits, loss, gradients, losses, after_10, maps)

    return run

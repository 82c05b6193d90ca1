"""What every framework computes from the same weights and batches, once per session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import Task
from harness.backends.registry import BACKENDS
from harness.config import Optimizer, available_cpus
from harness.data import hdf5
from harness.data.hdf5 import open_dataset
from harness.data.locate import resolve
from harness.models import find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import Weights, initial_weights
from harness.worker import Worker

THREADS = min(2, len(available_cpus()))
BATCH = 64
RATE = 0.05
SGD = Optimizer(learning_rate=RATE)


@dataclass(frozen=True)
class Trace:
    """Of one framework: the first batch in full, the loss of every step, the parameters then."""

    logits: np.ndarray
    loss: float
    gradients: Weights
    losses: np.ndarray
    """float64 (steps,)"""
    parameters_after_10: Weights


def write_bits(digits: Path, path: Path) -> Path:
    """The same pictures, with the bits of their digit as labels."""
    splits = {}
    with open_dataset(digits) as data:
        for name in hdf5.SPLITS:
            split = data.split(name)
            bits = split.labels[:, None] >> np.arange(4, dtype=np.uint8) & 1
            splits[name] = hdf5.Split(split.all_images(), bits)
    return hdf5.write(
        path,
        hdf5.ImageDataset(
            name="digit-bits", task="multilabel", classes=("1", "2", "4", "8"), splits=splits
        ),
    )


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trace]:
    """``trace(framework, model, precision, optimizer)`` on scikit-learn's digits.

    With ``dataset="digit-bits"`` an image has the labels of the four bits of its digit.
    """
    folder: Path = tmp_path_factory.mktemp("parity")
    digits = resolve("digits", folder)
    datasets = {"digits": digits, "digit-bits": write_bits(digits, folder / "digit-bits.h5")}
    with open_dataset(digits) as data:
        shape, examples = data.image_shape, data.sizes["train"]
    orders = [epoch_order(examples, BATCH, seed=0, epoch=epoch) for epoch in range(6)]
    batches = np.concatenate(orders)[:100]
    rates = np.full(len(batches), RATE)

    @cache
    def run(
        framework: str,
        model: str,
        precision: str,
        optimizer: Optimizer = SGD,
        dataset: str = "digits",
    ) -> Trace:
        spec = BACKENDS[framework]
        if (reason := spec.missing()) is not None:
            pytest.skip(f"{framework} {reason}")
        with open_dataset(datasets[dataset]) as data:
            classes = len(data.classes)
        weights = initial_weights(find_model(model).parameters(shape, classes), seed=0)
        task = Task(
            model=model,
            dataset=datasets[dataset],
            optimizer=optimizer,
            precision=precision,
            threads=THREADS,
        )
        steps = rates * (optimizer.learning_rate / RATE)
        with Worker(
            spec,
            threads=THREADS,
            cpus=available_cpus(),
            environment={"TORCHINDUCTOR_CACHE_DIR": str(folder)},
        ) as worker:
            worker.import_framework()
            worker.build(task, weights)
            logits, loss, gradients = worker.loss_and_gradients(batches[0])
            _, first = worker.train_epoch(batches[:10], steps[:10])
            after_10 = worker.save_weights()
            _, rest = worker.train_epoch(batches[10:], steps[10:])
        return Trace(logits, loss, gradients, np.concatenate([first, rest]), after_10)

    return run

"""Knet as its tutorial writes it: the same network and settings, Knet's own steps."""

from __future__ import annotations

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.errors import WorkerError
from harness.execution.worker import Worker
from harness.plugins import backends, find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order
from harness.protocol.received import Received
from harness.protocol.weights import initial_weights


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return resolve("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture
def start(digits):
    """Opens a worker of a variant with LeNet-5 on digits; also the weights it starts from."""
    if (reason := backends()["knet-idiom"].missing()) is not None:
        pytest.skip(f"knet-idiom {reason}")
    workers = []

    def start(**optimizer):
        worker = Worker(backends()["knet-idiom"], threads=1, cpus=(0,))
        workers.append(worker)
        worker.import_framework()
        with open_dataset(digits) as data:
            parameters = find_model("lenet5").parameters(data.image_shape, len(data.classes))
        weights = initial_weights(parameters, 0)
        task = TrainingJob(
            model="lenet5", dataset=digits, optimizer=Optimizer(**optimizer),
            precision="float32", threads=1,
        )  # fmt: skip
        worker.build(task, weights)
        return worker, weights

    yield start
    for worker in workers:
        worker.stop()


def test_it_learns_by_its_own_steps_and_says_what_it_received(start):
    worker, weights = start(learning_rate=0.05)
    received = Received()
    means = []
    for epoch in range(3):
        order = epoch_order(1258, 64, seed=0, epoch=epoch)
        rates = np.full(len(order), 0.05)
        _, losses = worker.train_epoch(order, rates)
        received.add(order, rates, None)
        means.append(losses.mean())
    assert means[2] < means[1] < means[0]
    assert worker.received() == received.digests()
    trained = worker.save_weights()
    assert all(np.isfinite(trained[name]).all() for name in weights)

    # Loading forgets the velocities and starts the shuffling again: the same once more.
    worker.load_weights(weights)
    _, again = worker.train_epoch(epoch_order(1258, 64, seed=0, epoch=0), np.full(19, 0.05))
    assert again.mean() == pytest.approx(means[0], rel=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"learning_rate": 0.05, "momentum": 0.0},
        {"learning_rate": 0.05, "weight_decay": 0.01},
        {"name": "adam", "learning_rate": 0.01},
    ],
)
def test_knets_own_optimisers(start, optimizer):
    worker, _ = start(**optimizer)
    order = epoch_order(1258, 64, seed=0, epoch=0)
    rates = np.full(len(order), optimizer["learning_rate"])
    first, second = (worker.train_epoch(order, rates)[1].mean() for _ in range(2))
    assert second < first


def test_what_its_tutorial_has_not_is_refused(start):
    worker, _ = start()
    order = epoch_order(1258, 64, seed=0, epoch=0)[:1]
    augmentation = epoch_augmentation(*order.shape, 0, 0, flip=True, shift=1)
    with pytest.raises(WorkerError, match="augments no images"):
        worker.train_epoch(order, np.full(1, 0.05), augmentation)
    worker, _ = start(name="adamw")
    with pytest.raises(WorkerError, match="Knet has no optimiser adamw"):
        worker.train_epoch(order, np.full(1, 0.05))

"""Nothing is compiled while the clock runs, and it would be noticed."""

from __future__ import annotations

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.data.writer import write_dataset
from harness.errors import WorkerError
from harness.execution.worker import Worker
from harness.measure.warmup import InferenceBudget
from harness.plugins import backends, find_model
from harness.protocol.weights import initial_weights

ORDER = np.arange(40 * 8).reshape(-1, 4) % 40
"""80 steps: more than one block of those variants that train by blocks."""
BUDGET = InferenceBudget(warm_up_s=0, least=3, most=3, seconds=0)


@pytest.fixture(scope="module")
def dataset(small_dataset, tmp_path_factory):
    """Its test split has batches of 256 and of 14."""
    path = tmp_path_factory.mktemp("ragged") / "ragged.h5"
    return write_dataset(path, small_dataset(sizes=(40, 14, 270)))


@pytest.mark.parametrize(
    ("name", "moved"),
    [("torch-compile", False), ("jax", False), ("jax-scan", False), ("jax-scan", True)],
)
def test_what_is_timed_was_compiled_before(name, moved, dataset, ready):
    ready(name)
    task = TrainingJob(
        model="lenet5", dataset=dataset, optimizer=Optimizer(), precision="float32", threads=1
    )
    weights = initial_weights(find_model("lenet5").parameters((1, 12, 12), 3), seed=0)
    rates = np.full(len(ORDER), 0.01)
    augmentation = np.zeros((*ORDER.shape, 3), np.int64) if moved else None
    with Worker(backends()[name], threads=1) as worker:
        worker.import_framework()
        worker.build(task, weights)
        worker.forbid_compilation()
        first = slice(0, 1)
        with pytest.raises(WorkerError, match="compiled while training was timed"):
            worker.train_epoch(
                ORDER[first],
                rates[first],
                augmentation if augmentation is None else augmentation[first],
            )
        with pytest.raises(WorkerError, match="compiled while evaluation on test was timed"):
            worker.predict("test")

        for split in ("val", "test"):
            worker.warm_up_prediction(split)
        steps = worker.prepare_training(ORDER, augmentation)
        for _ in range(2):
            some = slice(0, steps)
            worker.train_epoch(
                ORDER[some],
                rates[some],
                augmentation if augmentation is None else augmentation[some],
            )
        # None of these raises, and the loaded weights change nothing.
        for _ in range(2):
            worker.load_weights(weights)
            worker.train_epoch(ORDER, rates, augmentation)
            worker.predict("val")
            worker.predict("test")
        assert len(worker.infer("test", 14, BUDGET)) == 4

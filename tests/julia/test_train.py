"""The Julia backend from Python: where its images come from, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.backends.base import Task
from harness.backends.julia import installation
from harness.backends.julia.train import JuliaBackend
from harness.config import Optimizer
from harness.data.schema import ImageDataset
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.plugins import backends

# Twice the same moved batches: all images handed over once, then read from the disk in blocks of
# two batches and a rest.
BLOCKS = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
from harness.backends.base import Task
from harness.backends.julia import train
from harness.config import Optimizer
from harness.plugins import find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order
from harness.protocol.received import Received
from harness.protocol.weights import initial_weights
task = Task(
    model="xraynet",
    dataset=Path(sys.argv[1]),
    optimizer=Optimizer(learning_rate=0.01),
    precision="float64",
    threads=2,
)
train.JuliaBackend.start()
order = epoch_order(40, 8, seed=0, epoch=0)
augmentation = epoch_augmentation(*order.shape, 0, 0, flip=True, shift=2)
runs = []
for disk, unmoved in (False, True), (False, False), (True, False):
    if disk:
        train.open_dataset = partial(train.open_dataset, memory_budget=0)
        train._BLOCK = 2
    backend = train.JuliaBackend(task)
    backend.load_weights(initial_weights(backend.parameters, seed=0))
    losses = backend.train_epoch(
        order, np.full(len(order), 0.01), None if unmoved else augmentation
    )
    runs.append((losses, backend.save_weights()))
    assert backend.in_julia(backend.split("train")) != disk
    if disk:
        assert backend.received() is None
        continue
    # Julia's own digests, of two epochs, are those of the same bytes in Python.
    backend.train_epoch(order[:2], np.full(2, 0.02), None if unmoved else augmentation[:2])
    expected = Received()
    for steps, rate in (len(order), 0.01), (2, 0.02):
        part = slice(0, steps)
        expected.add(order[part], np.full(steps, rate), None if unmoved else augmentation[part])
    assert backend.received() == backend.received() == expected.digests()
    assert (backend.received().augmentation == "none") == unmoved
    backend.load_weights(initial_weights(backend.parameters, seed=0))
    assert backend.received() == Received().digests()
(unmoved, _), (losses, weights), (from_disk, weights_from_disk) = runs
assert len(losses) == 5 and np.array_equal(losses, from_disk)
assert all(np.array_equal(weights[name], weights_from_disk[name]) for name in weights)
assert not np.array_equal(losses, unmoved)
print("equal")
"""


def test_moved_images_are_the_same_from_memory_and_in_blocks(
    small_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    path = write_dataset(tmp_path / "small.h5", small_dataset(shape=(1, 16, 16)))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS, str(path)],
        env={**os.environ, **installation.environment(installation.find_julia(), 2)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,  # Julia may have to compile the package first
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "equal\n"


def test_a_gpu_is_refused_in_one_sentence(small_file: Path) -> None:
    task = Task(
        model="lenet5",
        dataset=small_file,
        optimizer=Optimizer(),
        precision="float32",
        threads=1,
        device="gpu",
    )
    with pytest.raises(BenchError, match="processor only"):
        JuliaBackend(task)

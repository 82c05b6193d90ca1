"""The Julia backend from Python: where its images come from, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.backends.base import TrainingJob
from harness.backends.julia import installation
from harness.backends.julia.train import JuliaBackend
from harness.config import Optimizer
from harness.data.schema import ImageDataset
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.plugins import find_backend

# Twice the same augmented batches: all images handed over once, then read from the disk in blocks
# of two batches and a rest.
BLOCKS = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from harness.backends.base import TrainingJob
from harness.backends.julia import train
from harness.config import Optimizer
from harness.plugins import find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order
from harness.protocol.received import Received, images_digest
from harness.protocol.weights import initial_weights
task = TrainingJob(
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
for disk, unaugmented in (False, True), (False, False), (True, False):
    if disk:
        task = replace(task, memory_budget=0)
        train._BLOCK = 2
    backend = train.JuliaBackend(task)
    backend.load_weights(initial_weights(backend.parameters, seed=0))
    losses = backend.train_epoch(
        order, np.full(len(order), 0.01), None if unaugmented else augmentation
    )
    runs.append((losses, backend.save_weights()))
    split, rows = backend.split("test"), np.array([3, 0, 5])
    held = images_digest(split.images(rows), split.labels[rows])
    assert backend.images_digest("test", rows) == held
    assert backend.in_julia(backend.split("train")) != disk
    if disk:
        assert backend.received() is None
        continue
    # Julia's own digests, of two epochs, are those of the same bytes in Python.
    backend.train_epoch(order[:2], np.full(2, 0.02), None if unaugmented else augmentation[:2])
    expected = Received()
    for steps, rate in (len(order), 0.01), (2, 0.02):
        part = slice(0, steps)
        expected.add(order[part], np.full(steps, rate), None if unaugmented else augmentation[part])
    assert backend.received() == backend.received() == expected.digests()
    assert (backend.received().augmentation == "none") == unaugmented
    backend.load_weights(initial_weights(backend.parameters, seed=0))
    assert backend.received() == Received().digests()
(unaugmented, _), (losses, weights), (from_disk, weights_from_disk) = runs
assert len(losses) == 5 and np.array_equal(losses, from_disk)
assert all(np.array_equal(weights[name], weights_from_disk[name]) for name in weights)
assert not np.array_equal(losses, unaugmented)
print("equal")
"""


def test_augmented_images_are_the_same_from_memory_and_in_blocks(
    small_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    if (reason := find_backend("julia-reference").missing()) is not None:
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


OUTSIDE = """
import sys
from pathlib import Path
import numpy as np
from harness.backends.base import TrainingJob
from harness.backends.julia import train
from harness.backends.julia.plugin import find_network
from harness.config import Optimizer
from harness.models.card import ModelCard, Parameter
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights

def describe(shape, classes):
    uniform = "glorot_uniform"
    return (
        Parameter(name="conv1.weight", shape=(4, shape[0], 3, 3), initializer=uniform),
        Parameter(name="conv1.bias", shape=(4,), initializer="zeros"),
        Parameter(name="fc.weight", shape=(classes, 4), initializer=uniform),
        Parameter(name="fc.bias", shape=(classes,), initializer="zeros"),
    ), ()

card = ModelCard(
    name="small", title="Small", reference="", package="outside", head="fc", describe=describe
)
network = find_network(card)
assert network.endswith("outside/outside.jl")
train.find_model = lambda name: card
train.JuliaBackend.start()
optimizer = Optimizer(learning_rate=0.05)
dataset = Path(sys.argv[1])
task = TrainingJob(
    model="small", network=network, dataset=dataset, optimizer=optimizer, precision="float64",
    threads=1,
)
for _ in range(2):  # the second time its file is known
    backend = train.JuliaBackend(task)
    backend.load_weights(initial_weights(backend.parameters, seed=0))
    order = epoch_order(40, 8, seed=0, epoch=0)
    losses = [backend.train_epoch(order, np.full(len(order), 0.05)).mean() for _ in range(3)]
    assert losses[2] < losses[0], losses
print("trained")
"""
NETWORK = """
struct Small
    conv1
    fc
end

Small(T, (width, height, channels), classes; activation, pooling) =
    Small(Conv(T, 3, channels => 4; f = activation), Dense(T, 4 => classes))

features(net::Small, x) = net.conv1(x)
classify(net::Small, maps) = net.fc(average(maps))
(net::Small)(x) = classify(net, features(net, x))

register_network("outside", Small)
"""


def test_a_model_that_lies_outside_of_the_harness(
    small_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    if (reason := find_backend("julia-reference").missing()) is not None:
        pytest.skip(f"julia {reason}")
    path = write_dataset(tmp_path / "small.h5", small_dataset(shape=(1, 16, 16)))
    package = tmp_path / "outside"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "outside.jl").write_text(NETWORK)
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(path)],
        env={**os.environ, **installation.environment(installation.find_julia(), 1)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained\n"


def test_a_gpu_is_refused_in_one_sentence(small_file: Path) -> None:
    task = TrainingJob(
        model="lenet5",
        dataset=small_file,
        optimizer=Optimizer(),
        precision="float32",
        threads=1,
        device="gpu",
    )
    with pytest.raises(BenchError, match="CPU only"):
        JuliaBackend(task)

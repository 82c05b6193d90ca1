"""Profiles by operation: what names mean, how times divide, and a real one of each framework."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.data.schema import ImageDataset
from harness.data.writer import write_dataset
from harness.execution.worker import Worker
from harness.measure.operations import OPERATIONS
from harness.plugins import backends, find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights

NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")
PROFILED = [
    "torch",
    pytest.param("torch-compile", marks=NIGHTLY),
    "jax",
    "jax-scan",
    "knet",
    pytest.param("julia-reference", marks=NIGHTLY),  # tests/julia/test_profiler.py has its profiler
]


@pytest.mark.parametrize("name", PROFILED)
def test_a_real_profile(
    name: str, small_dataset: Callable[..., ImageDataset], tmp_path: Path
) -> None:
    spec = backends()[name]
    if (reason := spec.missing()) is not None:
        pytest.skip(f"{name} {reason}")
    if name in ("knet", "julia-reference") and not Path("/proc/self/task").is_dir():
        pytest.skip("the profile needs Linux")
    path = write_dataset(tmp_path / "small.h5", small_dataset(shape=(1, 28, 28)))
    task = TrainingJob(
        model="lenet5",
        dataset=path,
        optimizer=Optimizer(learning_rate=0.01),
        precision="float32",
        threads=1,
    )
    with open_dataset(path) as data:
        parameters = find_model("lenet5").parameters(data.image_shape, len(data.classes))
    order = epoch_order(40, 8, seed=0, epoch=0)
    if name in ("knet", "julia-reference"):  # a sampling profiler needs time for what is short
        order = np.tile(order, (200, 1))
    with Worker(spec, threads=1) as worker:
        worker.import_framework()
        worker.build(task, initial_weights(parameters, seed=0))
        seconds = worker.profile(order, np.full(len(order), 0.01))
    assert set(seconds) <= set(OPERATIONS)
    assert all(value >= 0 for value in seconds.values())
    assert min(seconds[each] for each in ("convolution", "matrix product", "optimiser")) > 0
    largest = max(seconds, key=seconds.__getitem__)
    assert seconds["convolution"] > 0.1 * sum(seconds.values()), f"most is {largest}: {seconds}"

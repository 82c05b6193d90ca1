"""Every framework beside the NumPy reference: one process a framework for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from harness.backends.spec import BackendSpec
from harness.config import Optimizer
from harness.data.locate import resolve
from harness.data.reader import open_dataset
from harness.data.schema import SPLITS, ImageDataset, Split
from harness.data.writer import write_dataset
from harness.execution.worker import Worker
from harness.parity.deviations import Comparison, evaluate
from harness.parity.trace import ProofPlan, Trace, Workers, make_plan, trace, trace_reference
from harness.plugins import find_backend
from harness.protocol.positives import balancing_weights

THREADS = 1
"""Of each framework: nothing is timed, and several tests may run at once."""
# XLA compiles a network of 121 layers for minutes, and a few steps of it need no fast code.
UNOPTIMISED = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
}


class Case(Protocol):
    """What is compared: ``Case`` of test_parity.py."""

    model: str
    dataset: str
    optimizer: Optimizer
    batch_size: int
    steps: int


DEEP = ("resnet18", "densenet121")
XRAYS = {
    "small-xrays": (100, slice(None, None, 2), slice(4, -4, 2)),
    "few-xrays": (20, slice(None, None, 2), slice(None, None, 4)),
    "high-xrays": (20, slice(None), slice(16, 48)),
}
"""Data set -> images a split, rows and columns of the 64x64 pixels."""


@dataclass(frozen=True)
class Found:
    """What a framework computed, and how far it deviates."""

    trace: Trace
    comparison: Comparison


class Laboratory:
    """Plans, traces of the reference, and those of frameworks, each computed once."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.workers = stack.enter_context(Workers(THREADS))
        self.unoptimised = stack.enter_context(Workers(THREADS, UNOPTIMISED))
        # What torch-bf16 has beyond torch-compile, whose compilation is tested, is autocast.
        self.uncompiled = stack.enter_context(Workers(THREADS, {"TORCH_COMPILE_DISABLE": "1"}))
        for method in ("dataset", "plan", "reference", "found", "losses"):
            setattr(self, method, cache(getattr(self, method)))

    def worker(self, framework: str, model: str) -> Worker:
        spec = self.spec(framework)
        if spec.lower_precision:
            return self.uncompiled.get(spec)
        return (self.unoptimised if model in DEEP else self.workers).get(spec)

    def spec(self, framework: str) -> BackendSpec:
        spec = find_backend(framework)
        if (reason := spec.missing()) is not None:
            pytest.skip(f"{framework} {reason}")
        return spec

    def dataset(self, name: str) -> Path:
        digits = resolve("digits", self.folder)
        if name == "digits":
            return digits
        phantoms = resolve("xray-phantom", self.folder)
        return write_small_xrays(phantoms, self.folder / f"{name}.h5", *XRAYS[name])

    def plan(self, case: Case) -> ProofPlan:
        path = self.dataset(case.dataset)
        with open_dataset(path) as data:
            weights = balancing_weights(data.split("train").labels) if case.dataset in XRAYS else ()
        plan = make_plan(
            case.model, path, data_dir=self.folder, optimizer=case.optimizer,
            batch_size=case.batch_size, steps=case.steps, threads=THREADS,
            positive_weights=weights,
        )  # fmt: skip
        # Whole splits are predicted; so many of their images, the last among them, are compared.
        plan = replace(plan, examples={n: rows[-100:] for n, rows in plan.examples.items()})
        # What is done from epoch to epoch is the same for all networks, and these take long.
        return replace(plan, epochs=()) if case.model in DEEP else plan

    def reference(self, case: Case) -> Trace:
        return trace_reference(self.plan(case))

    def found(self, framework: str, case: Case) -> Found:
        worker = self.worker(framework, case.model)
        reference = self.reference(case)
        found = trace(worker, self.plan(case), "float64")
        comparison = evaluate(framework, case.model, "float64", found, reference)
        return Found(found, comparison)

    def losses(self, framework: str, case: Case) -> np.ndarray:
        """Of every step in float32."""
        worker, plan = self.worker(framework, case.model), self.plan(case)
        worker.build(plan.job("float32"), plan.weights)
        return worker.train_epoch(plan.batches, plan.rates)[1]


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with ExitStack() as stack:
        yield Laboratory(tmp_path_factory.mktemp("parity"), stack)


@pytest.fixture(scope="session")
def found(laboratory: Laboratory) -> Callable[[str, Case], Found]:
    """``found(framework, case)``"""
    return laboratory.found


def write_small_xrays(phantoms: Path, path: Path, images: int, rows: slice, columns: slice) -> Path:
    """Some pixels of a few phantoms, higher than wide: several labels an image."""
    with open_dataset(phantoms) as data:
        splits = {}
        for name in SPLITS:
            split = data.split(name)
            small = np.ascontiguousarray(split.all_images()[:images, :, rows, columns])
            splits[name] = Split(small, split.labels[:images])
        return write_dataset(
            path,
            ImageDataset(
                name="small-xrays", task="multilabel", classes=data.classes, splits=splits
            ),
        )

"""Training in Julia: the networks and loops of the folder ``julia/``, called through a bridge."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import util
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Backend, TrainingJob, evaluation_batches, evaluation_shapes
from harness.backends.julia import profiler
from harness.backends.julia.bridge import Argument, Bridge, JuliaCallBridge, LibjuliaBridge
from harness.backends.julia.installation import find_julia
from harness.backends.julia.packages import KNET, REFERENCE, SHARED, folder
from harness.data.reader import SplitReader, open_dataset
from harness.errors import BenchError
from harness.measure.operations import Operation
from harness.models.card import Parameter
from harness.plugins import find_model
from harness.protocol.optimizer import SLOTS, OptimizerState
from harness.protocol.received import Digests
from harness.protocol.weights import Weights

_BLOCK = 64
"""Batches that are read from the disk at once when a split does not fit in memory."""


class JuliaBackend(Backend):
    """The reference engine: Julia's standard library and BLAS."""

    engine = "reference"
    bridge: ClassVar[Bridge]

    @classmethod
    def start(cls) -> None:
        cls.bridge = LibjuliaBridge(find_julia(), [folder(SHARED), folder(REFERENCE)])
        cls.load(REFERENCE)

    @classmethod
    def load(cls, package: str) -> None:
        """Load the package with the engine; it registers itself."""
        cls.bridge.evaluate(f"import {package}; 0")
        cls.bridge.call(f"{cls.engine}.can_read_files")

    @classmethod
    def execute(
        cls,
        program: str,
        x: NDArray[np.floating],
        parameters: list[NDArray[np.floating]],
        cotangent: NDArray[np.floating],
    ) -> list[NDArray[np.floating]]:
        """What ``compute`` of a program in Julia returns."""
        given = [np.ascontiguousarray(array) for array in (x, *parameters, cotangent)]
        found = [np.empty(array.shape, array.dtype) for array in (cotangent, x, *parameters)]
        cls.bridge.call("bridge.execute", program, *given, *found)
        return found

    def __init__(self, job: TrainingJob) -> None:
        if job.device != "cpu":
            raise BenchError("the Julia variants run on the CPU only: leave --device gpu out")
        self.dtype = np.dtype(job.precision)
        self.path = job.dataset
        self.data = open_dataset(self.path, job.memory_budget)
        self.splits: dict[str, SplitReader] = {}
        # Where Julia has HDF5.jl it reads the file by itself; Python then loads no pixels.
        self.julia_reads = self.data.fits_in_memory and self.call("can_read_files") == 1
        if self.julia_reads:
            self.data = open_dataset(self.path, memory_budget=0)
        card = find_model(job.model)
        channels, height, width = self.data.image_shape
        self.parameters = card.parameters(self.data.image_shape, len(self.data.classes))
        if job.network:  # without a file it is one of those that come with the engine
            self.call("include_model", job.network)
        rule = job.optimizer
        self.slots = SLOTS[rule.name]
        self.call(
            "build",
            card.architecture,
            card.activation,
            card.pooling,
            width,
            height,
            channels,
            len(self.data.classes),
            job.precision,
            np.array(self.data.mean, np.float64),
            np.array(self.data.std, np.float64),
            np.array(job.positive_weights, np.float64),
            rule.name,
            rule.momentum,
            rule.beta1,
            rule.beta2,
            rule.epsilon,
            rule.weight_decay,
        )

    def call(self, function: str, *arguments: Argument) -> float | str | None:
        return self.bridge.call(f"{self.engine}.{function}", *arguments)

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        for name, value in weights.items():
            self.call("set_parameter", name, np.ascontiguousarray(value, self.dtype))
        self.call("reset_optimizer")

    def save_weights(self) -> Weights:
        return self._arrays("get_parameter", self.parameters)

    def save_optimizer(self) -> OptimizerState | None:
        slots: dict[str, Weights] = {}
        for slot in self.slots:
            slots[slot] = {
                p.name: np.empty(p.shape, self.dtype) for p in self.parameters if p.trainable
            }
            for name, array in slots[slot].items():
                self.call("get_slot", slot, name, array)
        steps = self.call("get_steps")
        assert isinstance(steps, float)
        return OptimizerState(slots, int(steps))

    def load_optimizer(self, state: OptimizerState) -> None:
        for slot, arrays in state.slots.items():
            for name, array in arrays.items():
                self.call("set_slot", slot, name, np.ascontiguousarray(array, self.dtype))
        self.call("set_steps", state.steps)

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        losses = np.empty(len(order))
        # None cross as an empty array.
        augmentation = (
            np.empty((*order.shape, 0), np.int64) if augmentation is None else augmentation
        )
        order, augmentation = np.ascontiguousarray(order), np.ascontiguousarray(augmentation)
        split = self.split("train")
        if self.in_julia(split):
            self.call("train", "train", order, rates, augmentation, losses)
            return losses
        for start in range(0, len(order), _BLOCK):
            steps = slice(start, start + _BLOCK)
            block = order[steps]
            with self.handed_over(split, block.ravel()) as name:
                rows = np.arange(block.size).reshape(block.shape)
                self.call("train", name, rows, rates[steps], augmentation[steps], losses[steps])
        return losses

    def received(self) -> Digests | None:
        if not self.in_julia(self.split("train")):
            return None  # Julia gets images, in an order that Python has chosen
        digests = self.call("received")
        assert isinstance(digests, str)
        return Digests(*digests.split())

    def images_digest(self, split: str, rows: NDArray[np.int64]) -> str:
        reader = self.split(split)
        if self.in_julia(reader):
            digest = self.call("images_digest", split, rows)
        else:
            with self.handed_over(reader, rows) as own:
                digest = self.call("images_digest", own, np.arange(len(rows)))
        assert isinstance(digest, str)
        return digest

    def predict(self, split: str) -> NDArray[np.floating]:
        reader = self.split(split)
        logits = np.empty((len(reader), len(self.data.classes)), self.dtype)
        for batch in evaluation_batches(len(reader)):
            self.evaluate(split, batch, logits[batch[0] : batch[-1] + 1])
        return logits

    def warm_up_prediction(self, split: str) -> None:
        for batch in evaluation_shapes(len(self.split(split))):
            self.evaluate(split, batch, np.empty((len(batch), len(self.data.classes)), self.dtype))

    def evaluate(self, split: str, batch: NDArray[np.int64], logits: NDArray[np.floating]) -> None:
        """Logits of the consecutive examples ``batch`` into ``logits`` (batch, classes)."""
        reader = self.split(split)
        if self.in_julia(reader):
            self.call("predict", split, int(batch[0]), logits)
            return
        with self.handed_over(reader, batch) as name:
            self.call("predict", name, 0, logits)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        classes = len(self.data.classes)
        shape = (len(images), classes) if self.data.task == "multilabel" else len(images)
        logits = np.empty((len(images), classes), self.dtype)
        labels = np.zeros(shape, np.uint8)  # nobody asks for them, but a batch has some
        self.call("hand_over", "images", images, labels)
        self.call("predict", "images", 0, logits)
        self.call("forget", "images")
        return logits

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        logits = np.empty((len(batch), len(self.data.classes)), self.dtype)
        with self.handed_over(self.split("train"), batch) as name:
            loss = self.call("differentiate", name, np.arange(len(batch)), logits)
        assert isinstance(loss, float)
        trained = [parameter for parameter in self.parameters if parameter.trainable]
        return logits, loss, self._arrays("get_gradient", trained)

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        with self.handed_over(self.split(split), rows) as name:
            size = self.call("activation_maps", name, np.arange(len(rows)), outputs)
        assert isinstance(size, str)
        maps = np.empty((len(rows), *map(int, size.split())), self.dtype)
        self.call("get_activation_maps", maps)
        return maps

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        if not profiler.is_safe():
            return {}
        # Once before: when the profiler is loaded, Julia compiles much of its code again.
        self.sample(order[:1], rates[:1])
        return profiler.divide(*self.sample(order, rates))

    def sample(self, order: NDArray[np.int64], rates: NDArray[np.float64]) -> tuple[str, float]:
        """The samples of Julia's profiler while training, and the seconds it took."""
        self.bridge.call("sampler.start")
        started = time.perf_counter()
        self.train_epoch(order, rates)
        seconds = time.perf_counter() - started
        samples = self.bridge.call("sampler.stop")
        assert isinstance(samples, str)
        return samples, seconds

    def facts(self) -> dict[str, str]:
        facts = self.call("facts")
        assert isinstance(facts, str)
        return dict(line.split("=", 1) for line in facts.splitlines()) | {
            "bridge": self.bridge.name,
            "data": "HDF5.jl" if self.julia_reads else "handed over by Python without a copy",
        }

    def split(self, name: str) -> SplitReader:
        if name not in self.splits:
            self.splits[name] = split = self.data.split(name)
            if self.julia_reads:
                self.call("read_from_file", name, str(self.path))
            elif split.in_memory:
                self.call("hand_over", name, split.all_images(), split.labels)
        return self.splits[name]

    def in_julia(self, split: SplitReader) -> bool:
        """Whether Julia holds the whole split, its own or Python's memory."""
        return self.julia_reads or split.in_memory

    @contextmanager
    def handed_over(self, split: SplitReader, rows: NDArray[np.int64]) -> Iterator[str]:
        """Images ``rows`` of a split as one of their own, while the context lasts; its name."""
        images, labels = split.images(rows), split.labels[rows]
        self.call("hand_over", "rows", images, labels)
        yield "rows"
        self.call("forget", "rows")

    def _arrays(self, getter: str, parameters: Iterable[Parameter]) -> Weights:
        arrays = {p.name: np.empty(p.shape, self.dtype) for p in parameters}
        for name, array in arrays.items():
            self.call(getter, name, array)
        return {**arrays}


class KnetBackend(JuliaBackend):
    """Knet.jl and AutoGrad, through juliacall where it is installed."""

    engine = "knet"

    @classmethod
    def start(cls) -> None:
        installation = find_julia("Knet")
        attached = util.find_spec("juliacall") and "PythonCall" in installation.packages
        bridge = JuliaCallBridge if attached else LibjuliaBridge
        cls.bridge = bridge(installation, [folder(SHARED), folder(KNET)])
        cls.load(KNET)


class KnetIdiomBackend(KnetBackend):
    """Knet as its tutorial writes it: its own batches, optimisers and progress bar."""

    engine = "knet-idiom"

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(job)
        if not (self.julia_reads or self.data.fits_in_memory):
            raise BenchError(
                f"knet-idiom: {job.dataset} does not fit in memory, and Knet's minibatch needs "
                "it there: leave knet-idiom out"
            )

    def save_optimizer(self) -> None:
        """None: Knet draws its batches itself, from random numbers that nobody can put back."""

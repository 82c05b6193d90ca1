"""Training in Julia: the networks and loops of the folder ``julia/``, called through a bridge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import util
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import EVALUATION_BATCH, Backend, Task
from harness.backends.julia.bridge import Argument, Bridge, JuliaCallBridge, LibjuliaBridge
from harness.backends.julia.installation import find_julia
from harness.data.hdf5 import SplitReader, open_dataset
from harness.models import find_model
from harness.paths import julia_dir
from harness.protocol.weights import Weights

_BLOCK = 64
"""Batches that are read from the disk at once when a split does not fit in memory."""


class JuliaBackend(Backend):
    """The engine of our own: Julia's standard library and BLAS."""

    engine = "standard"
    bridge: ClassVar[Bridge]

    @classmethod
    def start(cls) -> None:
        cls.bridge = LibjuliaBridge(find_julia(), [julia_dir()])

    def __init__(self, task: Task) -> None:
        self.dtype = np.dtype(task.precision)
        self.data = open_dataset(task.dataset)
        self.splits: dict[str, SplitReader] = {}
        card = find_model(task.model)
        channels, height, width = self.data.image_shape
        self.shapes = {
            parameter.name: parameter.shape
            for parameter in card.parameters(self.data.image_shape, len(self.data.classes))
        }
        rule = task.optimizer
        self.call(
            "build",
            card.module,
            card.activation,
            card.pooling,
            width,
            height,
            channels,
            len(self.data.classes),
            task.precision,
            np.array(self.data.mean, np.float64),
            np.array(self.data.std, np.float64),
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
        return self._arrays("get_parameter")

    def train_epoch(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        losses = np.empty(len(order))
        split = self.split("train")
        if split.in_memory:
            order = np.ascontiguousarray(order)
            self.call("train", split.all_images(), split.labels, order, rates, losses)
            return losses
        for start in range(0, len(order), _BLOCK):
            steps = slice(start, start + _BLOCK)
            block = order[steps]
            rows = np.arange(block.size).reshape(block.shape)
            chosen = block.ravel()
            self.call(
                "train", split.images(chosen), split.labels[chosen], rows, rates[steps],
                losses[steps],
            )  # fmt: skip
        return losses

    def predict(self, split: str) -> NDArray[np.floating]:
        reader = self.split(split)
        scores = np.empty((len(reader), len(self.data.classes)), self.dtype)
        for rows in _blocks(len(reader)):
            pixels = reader.all_images()[rows] if reader.in_memory else reader.images(_range(rows))
            self.call("predict", pixels, scores[rows])
        return scores

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        split = self.split("train")
        scores = np.empty((len(batch), len(self.data.classes)), self.dtype)
        rows = np.arange(len(batch))
        loss = self.call("differentiate", split.images(batch), split.labels[batch], rows, scores)
        assert isinstance(loss, float)
        return scores, loss, self._arrays("get_gradient")

    def facts(self) -> dict[str, str]:
        told = self.call("facts")
        assert isinstance(told, str)
        return dict(line.split("=", 1) for line in told.splitlines()) | {"bridge": self.bridge.name}

    def split(self, name: str) -> SplitReader:
        if name not in self.splits:
            self.splits[name] = self.data.split(name)
        return self.splits[name]

    def _arrays(self, getter: str) -> Weights:
        arrays = {name: np.empty(shape, self.dtype) for name, shape in self.shapes.items()}
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
        cls.bridge = bridge(installation, [julia_dir(), julia_dir() / "knet"])
        cls.bridge.evaluate("import PipelineBenchKnet; 0")


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, EVALUATION_BATCH):
        yield slice(start, min(start + EVALUATION_BATCH, count))


def _range(rows: slice) -> NDArray[np.int64]:
    return np.arange(rows.start, rows.stop)

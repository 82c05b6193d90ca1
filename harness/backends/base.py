"""The contract between the harness and a framework."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.config import Optimizer
from harness.data.reader import DEFAULT_MEMORY_BUDGET
from harness.measure.operations import Operation
from harness.protocol.optimizer import OptimizerState
from harness.protocol.received import Digests
from harness.protocol.weights import Weights

EVALUATION_BATCH = 256
"""Images a forward pass in evaluation, the same for all."""


def evaluation_batches(examples: int) -> list[NDArray[np.int64]]:
    """Indices of the examples of each forward pass over a split; the last batch may be smaller."""
    edges = range(EVALUATION_BATCH, examples, EVALUATION_BATCH)
    return np.array_split(np.arange(examples), edges)


def evaluation_shapes(examples: int) -> list[NDArray[np.int64]]:
    """One of :func:`evaluation_batches` for each size that occurs."""
    batches = evaluation_batches(examples)
    return [batches[0]] + [last for last in batches[-1:] if len(last) != len(batches[0])]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What a backend is to train, all plain data, so that it can cross to a worker process."""

    model: str
    """Name of a model card."""
    network: str = ""
    """Where the backend's network is (``BackendSpec.find_network``); the worker fills it in."""
    dataset: Path
    """HDF5 file of schema version 1."""
    optimizer: Optimizer
    precision: Literal["float32", "float64"]
    threads: int
    device: Literal["cpu", "gpu"] = "cpu"
    positive_weights: tuple[float, ...] = ()
    """Multi-label tasks: what the positives of each label count; none means 1."""
    memory_budget: int = DEFAULT_MEMORY_BUDGET
    """Bytes that images may take in memory: what does not fit is read while it is trained on."""


def load_network(job: TrainingJob) -> Any:
    """``NETWORK`` of the module that ``job`` names: the network in the form of its framework."""
    return importlib.import_module(job.network).NETWORK


class Backend(ABC):
    """One framework with one network, inside its own process.

    The constructor opens the data and builds the model; weights come through
    :meth:`load_weights` before anything else is called. Arrays that cross are NumPy's, in
    canonical layout (see ``harness.protocol.weights``).
    """

    @classmethod  # noqa: B027 - most frameworks need nothing more
    def start(cls) -> None:
        """Start what importing the module does not: the runtime of another language.

        Timed together with the import.
        """

    @classmethod  # noqa: B027 - most devices need no look
    def check(cls, device: str) -> None:
        """See whether the framework, imported and started, can use ``device`` here.

        Asked before a run on anything but the CPU.

        Raises:
            BenchError: it cannot; the message says what to do.
        """

    @abstractmethod
    def __init__(self, job: TrainingJob) -> None: ...

    @abstractmethod
    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        """Take over ``weights``, cast to the job's precision, and forget all optimiser state."""

    @classmethod
    def execute(
        cls,
        program: str,
        x: NDArray[np.floating],
        parameters: list[NDArray[np.floating]],
        cotangent: NDArray[np.floating],
    ) -> list[NDArray[np.floating]]:
        """What ``compute`` of a program returns, which is the harness's own text; see
        :class:`harness.backends.dialect.Dialect`."""
        namespace: dict[str, Any] = {}
        exec(compile(program, "<case>", "exec"), namespace)
        found: list[NDArray[np.floating]] = namespace["compute"](x, parameters, cotangent)
        return found

    @abstractmethod
    def save_weights(self) -> Weights:
        """The present weights, in the job's precision."""

    def save_optimizer(self) -> OptimizerState | None:
        """What the update rule has kept of the steps so far, copied.

        With the weights it is all that training needs to go on: a run then saves checkpoints. None:
        the backend does not offer this, and a training of it that was interrupted starts anew.
        """
        return None

    def load_optimizer(self, state: OptimizerState) -> None:
        """Take over what :meth:`save_optimizer` gave, in this process or in another.

        Called after :meth:`load_weights`. What follows must agree to the last bit, on one thread,
        with a training that was never interrupted.
        """
        raise NotImplementedError

    @abstractmethod
    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Train on the batches ``order`` (steps, batch) with learning rates ``rates`` (steps,).

        With ``augmentation`` (steps, batch, 3), images are augmented as
        ``harness.protocol.augmentation`` says. Returns the loss of every step (steps,), before its
        update, once the device has finished.
        """

    def prepare_training(
        self, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
    ) -> int:
        """Compile what :meth:`train_epoch` of these shapes needs beyond a step of the same batch.

        Returns of how many steps a call must be to run the programs of a whole epoch; shorter
        calls would compile others.
        """
        return 1

    def received(self) -> Digests | None:
        """Digests of what :meth:`train_epoch` was given since :meth:`load_weights`.

        For a backend in another language, which computes them there. None: the arrays never leave
        Python, and the worker computes them. Called after every epoch, outside the timed region.
        """
        return None

    def images_digest(self, split: str, rows: NDArray[np.int64]) -> str | None:
        """``protocol.received.images_digest`` of images ``rows`` (n,) of a split, and their labels.

        Computed in the backend's language over what it holds and trains on. None: it cannot tell.
        """
        return None

    @abstractmethod
    def predict(self, split: str) -> NDArray[np.floating]:
        """Logits (N, classes) of a whole split, in its own order, in the job's precision."""

    def warm_up_prediction(self, split: str) -> None:
        """Run every batch shape of :meth:`predict` of this split once."""
        self.predict(split)

    @abstractmethod
    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        """Logits (B, classes), loss and gradients of training images ``batch`` (B,), no update.

        Logits as in evaluation, loss and gradients as in training; running statistics stay as
        they are. For proofs of parity, not for speed.
        """

    @abstractmethod
    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Which pixels speak for an output: (N, h, w), for images ``rows`` (N,) of a split.

        Grad-CAM (Selvaraju et al. 2017) at the last feature maps A (K, h, w), in evaluation:
        ReLU of the sum over K of A times the mean gradient in A of the image's logit
        ``outputs`` (N,).
        """

    @abstractmethod
    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Logits (B, classes) of ``images`` (B, C, H, W) as a service gets them: in host memory.

        Timed at several batch sizes; whatever a size needs compiled is compiled in its first call.
        """

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        """Train as :meth:`train_epoch` does and say which operations took how many seconds.

        Of one thread or of all together, whichever the framework's own profiler counts: what
        counts is the shares. Empty where the framework has no profiler.
        """
        return {}

    def compilations(self) -> int:
        """How many programs the framework has compiled so far, where it can tell.

        A difference over a timed region is a fault: a shape was timed that was not warmed up.
        """
        return 0

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Versions and settings as the framework itself sees them."""

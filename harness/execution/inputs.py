"""The training inputs of a group: what every framework gets, drawn once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harness.config import Training
from harness.data.reader import open_dataset
from harness.models.card import ModelCard
from harness.protocol import received
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.order import epoch_order, steps_per_epoch
from harness.protocol.received import Digests, Received, combined, hashed_rows
from harness.protocol.schedule import learning_rates
from harness.protocol.transfer import starting_weights
from harness.protocol.weights import Weights, initial_weights, read_weights
from harness.results.folder import DatasetEntry

T = TypeVar("T")


class PerEpoch(Sequence[T]):
    """One item an epoch, drawn when it is asked for: all of a long training would fill memory.

    The last few are kept, because the frameworks of a group take the same epoch one after another.
    """

    def __init__(self, draw: Callable[[int], T], epochs: int) -> None:
        self._draw = lru_cache(maxsize=2)(draw)
        self._epochs = epochs

    def __len__(self) -> int:
        return self._epochs

    @overload
    def __getitem__(self, key: int) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[T]: ...
    def __getitem__(self, key: int | slice) -> T | Sequence[T]:
        epochs = range(self._epochs)[key]
        return self._draw(epochs) if isinstance(epochs, int) else [self._draw(e) for e in epochs]


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """What every framework of a group gets: the same weights, the same batches, the same rates."""

    orders: Sequence[NDArray[np.int64]]
    """One (steps, batch) an epoch."""
    rates: NDArray[np.float64]
    """(epochs, steps)"""
    augmentation: Sequence[NDArray[np.int64] | None]
    """One (steps, batch, 3) an epoch, or None without augmentation."""
    weights: Weights

    @classmethod
    def make(cls, weights: Weights, training: Training, examples: int, seed: int) -> TrainingInputs:
        steps = steps_per_epoch(examples, training.batch_size)
        peak = training.optimizer.learning_rate
        rates = learning_rates(training.schedule, peak, training.epochs * steps)
        batch, moved = training.batch_size, training.augmentation.model_dump()
        return cls(
            orders=PerEpoch(
                lambda epoch: epoch_order(examples, batch, seed, epoch), training.epochs
            ),
            rates=rates.reshape(training.epochs, steps),
            augmentation=PerEpoch(
                lambda epoch: epoch_augmentation(steps, batch, seed, epoch, **moved),
                training.epochs,
            ),
            weights=weights,
        )

    def digests(self) -> Digests:
        """What a framework that was given all of it must have received."""
        received = Received()
        for order, rates, augmentation in zip(
            self.orders, self.rates, self.augmentation, strict=True
        ):
            received.add(order, rates, augmentation)
        return received.digests()


@lru_cache(maxsize=8)
def images_digest(path: Path, sha256: str) -> str:
    """Of the pixels and labels of the file at ``path``, whose own digest is ``sha256``.

    Every framework that was given the file must hold the same.
    """
    with open_dataset(path, memory_budget=0) as data:
        found = []
        for name, rows in hashed_rows(data).items():
            split = data.split(name)
            found.append(received.images_digest(split.images(rows), split.labels[rows]))
    return combined(found)


def first_weights(card: ModelCard, entry: DatasetEntry, training: Training, seed: int) -> Weights:
    """What training starts from: drawn by the protocol, or from the file that was asked for.

    Raises:
        BenchError: the file does not fit the network.
    """
    if training.initial_weights is None:
        return initial_weights(card.parameters(entry.image_shape, len(entry.classes)), seed)
    file = read_weights(training.initial_weights)
    return starting_weights(file, card, entry.image_shape, len(entry.classes), seed)


def adapted_weights(weights: Weights, training: Training) -> tuple[str, ...]:
    """Names of ``weights`` that are not as in the file that training starts from."""
    if training.initial_weights is None:
        return ()
    file = read_weights(training.initial_weights).weights
    return tuple(
        name
        for name, array in weights.items()
        if name not in file or not np.array_equal(np.asarray(file[name], array.dtype), array)
    )

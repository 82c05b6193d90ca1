"""The training inputs of a group: what every framework gets, drawn once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.config import Training
from harness.models.card import ModelCard
from harness.protocol.augmentation import epoch_moves
from harness.protocol.order import epoch_order, steps_per_epoch
from harness.protocol.received import Digests, Received
from harness.protocol.schedule import learning_rates
from harness.protocol.transfer import starting_weights
from harness.protocol.weights import Weights, initial_weights, read_weights
from harness.results.folder import DatasetEntry


@dataclass(frozen=True, kw_only=True)
class Course:
    """What every framework of a group gets: the same weights, the same batches, the same rates."""

    orders: list[NDArray[np.int64]]
    """One (steps, batch) an epoch."""
    rates: NDArray[np.float64]
    """(epochs, steps)"""
    moves: list[NDArray[np.int64] | None]
    """One (steps, batch, 3) an epoch, or None where images are not moved."""
    weights: Weights

    @classmethod
    def make(cls, weights: Weights, training: Training, examples: int, seed: int) -> Course:
        steps = steps_per_epoch(examples, training.batch_size)
        peak = training.optimizer.learning_rate
        rates = learning_rates(training.schedule, peak, training.epochs * steps)
        return cls(
            orders=[
                epoch_order(examples, training.batch_size, seed, epoch)
                for epoch in range(training.epochs)
            ],
            rates=rates.reshape(training.epochs, steps),
            moves=[
                epoch_moves(
                    steps, training.batch_size, seed, epoch, **training.augmentation.model_dump()
                )
                for epoch in range(training.epochs)
            ],
            weights=weights,
        )

    def digests(self) -> Digests:
        """What a framework that was given all of it must have received."""
        received = Received()
        for order, rates, moves in zip(self.orders, self.rates, self.moves, strict=True):
            received.add(order, rates, moves)
        return received.digests()


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

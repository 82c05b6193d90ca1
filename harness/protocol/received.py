"""Digests of what reached a framework, computed where it arrived: in the worker process.

A backend whose language is another one computes the same digests there, over the arrays that
crossed.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Digests(NamedTuple):
    """SHA-256 of the bytes (C order, int64 and float64), epoch after epoch."""

    batch_order: str
    learning_rates: str
    augmentation: str
    """``none`` where no augmentation came."""


class Received:
    """Everything that was trained on since the weights were loaded."""

    def __init__(self) -> None:
        self._hashes = [hashlib.sha256() for _ in Digests._fields]
        self._moved = False

    def add(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None,
    ) -> None:
        """One epoch: order (steps, batch), rates (steps,), augmentation (steps, batch, 3)."""
        self._moved |= augmentation is not None
        for hashed, array in zip(self._hashes, (order, rates, augmentation), strict=True):
            if array is not None:
                hashed.update(np.ascontiguousarray(array).data)

    def digests(self) -> Digests:
        order, rates, augmentation = (hashed.hexdigest() for hashed in self._hashes)
        return Digests(order, rates, augmentation if self._moved else "none")

"""Digests of what reached a framework, computed where it arrived: in the worker process.

A backend whose language is another one computes the same digests there, over the arrays that
crossed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MOST_BYTES, LEAST_IMAGES = 2**26, 256
"""Of the pixels of a split that are hashed: all of most data sets, a part of a large one."""


def hashed_images(count: int, image_bytes: int) -> NDArray[np.int64]:
    """Indices (n,) of the images of a split of ``count`` whose pixels are hashed, evenly spaced."""
    number = min(count, max(LEAST_IMAGES, MOST_BYTES // image_bytes))
    return np.arange(number) * count // max(1, number)


def images_digest(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> str:
    """SHA-256 of ``images`` (n, C, H, W) and then of ``labels`` (n,) or (n, L) as uint8."""
    hashed = hashlib.sha256(np.ascontiguousarray(images, np.uint8).data)
    hashed.update(np.ascontiguousarray(labels, np.uint8).data)
    return hashed.hexdigest()


class Splits(Protocol):
    """An open data set file."""

    @property
    def sizes(self) -> Mapping[str, int]: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...


def hashed_rows(data: Splits) -> dict[str, NDArray[np.int64]]:
    """By split the indices of the images whose pixels are hashed."""
    return {name: hashed_images(n, prod(data.image_shape)) for name, n in data.sizes.items()}


def combined(digests: Sequence[str]) -> str:
    """One digest of those of all splits."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


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

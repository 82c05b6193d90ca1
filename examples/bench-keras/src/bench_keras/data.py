"""The HDF5 file as a stream of NumPy batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.data.prefetch import prefetch
from harness.data.reader import SplitReader

Batch = tuple[NDArray[np.uint8], NDArray[np.int32]]


def read_batch(split: SplitReader, rows: NDArray[np.int64]) -> Batch:
    """Images uint8 (B, C, H, W), labels int32 (B,) or (B, L), of the examples ``rows`` (B,)."""
    return split.images(rows), split.labels[rows].astype(np.int32)


def stream(
    split: SplitReader, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
) -> Iterator[Batch]:
    """Batches in the given ``order`` (steps, B), one read ahead when they come from the disk.

    Their images are augmented by ``augmentation`` (steps, B, 3), if any.
    """

    def batch(step: int) -> Batch:
        images, labels = read_batch(split, order[step])
        return images if augmentation is None else augment(images, augmentation[step]), labels

    batches = map(batch, range(len(order)))
    return batches if split.in_memory else prefetch(batches)


def augment(images: NDArray[np.uint8], augmentation: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (B, C, H, W) augmented by (B, 3): see ``harness.protocol.augmentation``."""
    height, width = images.shape[2:]
    flip, down, right = (column[:, None] for column in augmentation.T)  # (B, 1) each
    rows, columns = np.arange(height) - down, np.arange(width) - right  # (B, H) and (B, W)
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    columns = np.where(flip == 1, width - 1 - columns, columns)
    pixels = images[
        np.arange(len(images))[:, None, None],
        :,
        rows.clip(0, height - 1)[:, :, None],
        columns.clip(0, width - 1)[:, None, :],
    ]  # (B, H, W, C)
    inside = rows_inside[:, :, None] & columns_inside[:, None, :]
    return np.ascontiguousarray((pixels * inside[..., None]).transpose(0, 3, 1, 2))

"""Batches of the HDF5 file as NumPy arrays; JAX copies them while it dispatches a step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.reader import SplitReader


def read_batch(
    split: SplitReader, rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images uint8 (B, C, H, W), labels int32 (B,) or (B, L), of the examples ``rows`` (B,)."""
    return split.images(rows), split.labels[rows].astype(np.int32)


def augment(images: NDArray[np.uint8], moves: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (B, C, H, W) under ``moves`` (B, 3): see ``harness.protocol.augmentation``."""
    height, width = images.shape[2:]
    flip, down, right = (column[:, None] for column in moves.T)  # (B, 1) each
    rows, columns = np.arange(height) - down, np.arange(width) - right  # (B, H) and (B, W)
    rows_inside = (rows >= 0) & (rows < height)
    columns_inside = (columns >= 0) & (columns < width)
    columns = np.where(flip == 1, width - 1 - columns, columns)
    augmented = images[
        np.arange(len(images))[:, None, None],
        :,
        rows.clip(0, height - 1)[:, :, None],
        columns.clip(0, width - 1)[:, None, :],
    ]  # (B, H, W, C)
    inside = rows_inside[:, :, None] & columns_inside[:, None, :]
    return np.ascontiguousarray((augmented * inside[..., None]).transpose(0, 3, 1, 2))

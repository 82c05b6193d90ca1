"""The HDF5 file as a stream of NumPy batches, read ahead of the computation."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.profiler import TraceAnnotation
from numpy.typing import NDArray

from harness.data.prefetch import prefetch
from harness.data.reader import SplitReader

Batch = tuple[NDArray[np.uint8], NDArray[np.int32]]
READING = "reading a batch"
"""What a profile calls it; the mark costs nothing where nobody profiles."""


def read_batch(split: SplitReader, batch: NDArray[np.int64]) -> Batch:
    """Images uint8 (B, C, H, W), labels int32 (B,) or (B, L), of the examples ``batch`` (B,)."""
    return split.images(batch), split.labels[batch].astype(np.int32)


def augment(images: NDArray[np.uint8], augmentation: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (B, C, H, W), augmented by (B, 3): see ``harness.protocol.augmentation``.

    In NumPy, while JAX computes the step before: one copy of a rectangle an image.
    """
    height, width = images.shape[2:]
    moved = np.zeros_like(images)
    for target, source, (flip, down, right) in zip(
        moved, images, augmentation.tolist(), strict=True
    ):
        rows, source_rows = _overlap(height, down)
        columns, source_columns = _overlap(width, right)
        source = source[:, :, ::-1] if flip else source
        target[:, rows, columns] = source[:, source_rows, source_columns]
    return moved


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """What a shifted line of ``size`` pixels fills, and with which part of it."""
    shift = max(-size, min(shift, size))
    return slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))


def stream(
    split: SplitReader,
    order: NDArray[np.int64],
    augmentation: NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """Batches in the given ``order`` (steps, B), one read ahead when they come from the disk.

    Their images are augmented by ``augmentation`` (steps, B, 3), if any. A split in memory needs no
    thread: JAX dispatches a step and returns, so the next batch is gathered while the last one is
    computed.
    """

    def batch(step: int) -> Batch:
        with TraceAnnotation(READING):
            images, labels = read_batch(split, order[step])
            return images if augmentation is None else augment(images, augmentation[step]), labels

    batches = map(batch, range(len(order)))
    return batches if split.in_memory else prefetch(batches)


def normalize(images: Array, mean: Array, std: Array) -> Array:
    """uint8 (B, C, H, W) to (x / 255 - mean) / std as (B, H, W, C), in the dtype of ``mean`` (C,).

    Called inside the jitted step, where XLA fuses it.
    """
    return (jnp.transpose(images, (0, 2, 3, 1)).astype(mean.dtype) / 255 - mean) / std

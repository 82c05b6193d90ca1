"""The HDF5 file as a stream of NumPy batches, read ahead of the computation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from harness.data.hdf5 import SplitReader

Batch = tuple[NDArray[np.uint8], NDArray[np.int32]]


def read_batch(split: SplitReader, batch: NDArray[np.int64]) -> Batch:
    """Images uint8 (B, C, H, W), labels int32 (B,) or (B, L), of the examples ``batch`` (B,)."""
    return split.images(batch), split.labels[batch].astype(np.int32)


def stream(split: SplitReader, order: Iterable[NDArray[np.int64]]) -> Iterator[Batch]:
    """Batches in the given ``order`` (steps, B), one read ahead when they come from the disk.

    A split in memory needs no thread: JAX dispatches a step and returns, so the next batch is
    gathered while the last one is computed.
    """
    if split.in_memory:
        yield from (read_batch(split, batch) for batch in order)
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = None
        for batch in order:
            ready, ahead = ahead, pool.submit(read_batch, split, batch)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()


def normalize(images: Array, mean: Array, std: Array) -> Array:
    """uint8 (B, C, H, W) to (x / 255 - mean) / std as (B, H, W, C), in the dtype of ``mean`` (C,).

    Called inside the jitted step, where XLA fuses it.
    """
    return (jnp.transpose(images, (0, 2, 3, 1)).astype(mean.dtype) / 255 - mean) / std

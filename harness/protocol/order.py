"""In which order the training images are seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.protocol.random import stream


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Full batches in one pass; the last partial batch is dropped."""
    return examples // batch_size


def epoch_order(examples: int, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices into the training split for one epoch, int64 (steps, batch_size).

    A fresh permutation for every (seed, epoch); what does not fill a batch is left out, and is
    another remainder each epoch.
    """
    steps = steps_per_epoch(examples, batch_size)
    order = stream(seed, "batch order", epoch).permutation(examples)
    return order[: steps * batch_size].reshape(steps, batch_size).astype(np.int64, copy=False)

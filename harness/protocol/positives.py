"""What the positives of a rare label count in the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def balancing_weights(labels: NDArray[np.uint8]) -> tuple[float, ...]:
    """Negatives over positives of every label of ``labels`` (N, L), float64 values (L,).

    With these, positives and negatives of a label weigh the same in sum. A label without
    positives, or without negatives, counts as it is: 1.
    """
    positives = labels.sum(axis=0, dtype=np.int64)
    negatives = len(labels) - positives
    balanced = np.where(
        (positives > 0) & (negatives > 0), negatives / np.maximum(positives, 1), 1.0
    )
    return tuple(balanced.tolist())

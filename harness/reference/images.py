"""What happens to the pixels before a network sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.reference.tape import Array


def normalise(images: NDArray[np.uint8], mean: Array, std: Array) -> Array:
    """uint8 (N, C, H, W) to ``(x / 255 - mean) / std`` in the dtype of ``mean`` (C,)."""
    x = images.astype(mean.dtype) / mean.dtype.type(255)
    return np.asarray((x - mean[:, None, None]) / std[:, None, None])


def augment(images: NDArray[np.uint8], parameters: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (N, C, H, W), each mirrored and shifted as its row (flip, down, right) of
    ``parameters`` says: see ``harness.protocol.augmentation``.
    """
    augmented = np.zeros_like(images)
    height, width = images.shape[2:]
    for image, result, (flip, down, right) in zip(images, augmented, parameters, strict=True):
        mirrored = image[:, :, ::-1] if flip else image
        rows, columns = _overlap(height, int(down)), _overlap(width, int(right))
        result[:, rows[0], columns[0]] = mirrored[:, rows[1], columns[1]]
    return augmented


def _overlap(side: int, shift: int) -> tuple[slice, slice]:
    """Where pixels come to lie after a shift, and where they come from."""
    length = max(0, side - abs(shift))
    there, here = max(0, shift), max(0, -shift)
    return slice(there, there + length), slice(here, here + length)

"""Augmentation of the training images: drawn once, the same for every framework.

The parameters of an image are (flip, down, right), all whole numbers. The image is mirrored left to
right where flip is 1, then shifted; what comes in from outside is black (pixel value 0). With
``C(x) = W - 1 - x`` for a flip and ``C(x) = x`` otherwise::

    moved[c, y, x] = image[c, y - down, C(x - right)], or 0 where that is outside
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.protocol.random import stream


def epoch_augmentation(
    steps: int, batch_size: int, seed: int, epoch: int, *, flip: bool, shift: int
) -> NDArray[np.int64] | None:
    """Parameters of one epoch, int64 (steps, batch_size, 3); None where nothing is augmented.

    Half of the images are flipped; shifts are uniform on -``shift`` ... ``shift`` pixels in each
    direction.
    """
    if not flip and not shift:
        return None
    draws = stream(seed, "augmentation", epoch).random((steps, batch_size, 3))
    augmentation = np.floor(draws * (2 * shift + 1)).astype(np.int64) - shift
    augmentation[..., 0] = (draws[..., 0] < 0.5) & flip
    return augmentation

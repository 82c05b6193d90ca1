"""Digests of what reached a framework."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness.protocol.received import LEAST_IMAGES, MOST_BYTES, hashed_images, images_digest


@pytest.mark.parametrize(
    ("count", "image_bytes", "number"),
    [
        (0, 784, 0),
        (60_000, 784, 60_000),
        (100_000, 784, MOST_BYTES // 784),
        (100_000, 1024**2, LEAST_IMAGES),
        (100, 1024**2, 100),
    ],
)
def test_a_part_of_a_large_split_is_hashed(count, image_bytes, number):
    rows = hashed_images(count, image_bytes)
    assert len(rows) == len(np.unique(rows)) == number
    if number:
        assert rows[0] == 0
        assert count - count // number - 1 <= rows[-1] < count
        assert np.ptp(np.diff(rows)) <= 1


@pytest.mark.parametrize("labels", [np.array([2, 0]), np.array([[0, 1, 0], [1, 1, 0]])])
def test_pixels_then_labels(labels):
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    expected = hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    # Whatever the memory looks like.
    strided = np.asfortranarray(images)
    assert images_digest(images, labels) == images_digest(strided, labels) == expected
    assert images_digest(images, labels[::-1]) != expected
    assert images_digest(images[::-1], labels) != expected

"""Augmentation of the training images: their draws, and what every backend makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from harness.protocol.augmentation import epoch_augmentation


def draw(seed=0, epoch=0, flip=True, shift=4, steps=50, batch=64):
    return epoch_augmentation(steps, batch, seed, epoch, flip=flip, shift=shift)


def test_nothing_is_drawn_where_nothing_moves():
    assert draw(flip=False, shift=0) is None


def test_half_are_flipped_and_shifts_are_uniform():
    augmentation = draw(steps=500)
    assert augmentation.shape == (500, 64, 3)
    assert augmentation.dtype == np.int64
    assert augmentation[..., 0].mean() == pytest.approx(0.5, abs=0.01)
    for axis in (1, 2):
        values, counts = np.unique(augmentation[..., axis], return_counts=True)
        assert values.tolist() == list(range(-4, 5))
        assert counts / counts.sum() == pytest.approx(1 / 9, abs=0.01)
    assert abs(np.corrcoef(augmentation.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() < 0.02


def test_flips_alone_and_shifts_alone():
    assert not draw(shift=0)[..., 1:].any()
    assert draw(shift=0)[..., 0].any()
    assert not draw(flip=False)[..., 0].any()
    # Whether images are also flipped changes no shift.
    assert np.array_equal(draw(flip=False)[..., 1:], draw()[..., 1:])


def test_epochs_and_seeds_differ_and_repeat():
    assert np.array_equal(draw(), draw())
    assert not np.array_equal(draw(), draw(epoch=1))
    assert not np.array_equal(draw(), draw(seed=1))


def moved(image, flip, down, right):
    """The formula of the module, pixel by pixel."""
    _, height, width = image.shape
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            row, column = y - down, x - right
            if 0 <= row < height and 0 <= column < width:
                out[:, y, x] = image[:, row, width - 1 - column if flip else column]
    return out


def by_torch(images, augmentation):
    torch = pytest.importorskip("torch")
    from harness.backends.torch.data import augment

    return augment(torch.from_numpy(images), torch.from_numpy(augmentation)).numpy()


def by_jax(images, augmentation):
    pytest.importorskip("jax")
    from harness.backends.jax.data import augment

    return augment(images, augmentation)


# Julia's is tested in julia/test, and by the losses of the parity tests.
@pytest.mark.parametrize("move", [by_torch, by_jax])
def test_backends_follow_the_formula(move):
    random = np.random.default_rng(0)
    images = random.integers(1, 256, (40, 2, 6, 7), dtype=np.uint8)
    augmentation = draw(steps=1, batch=40, shift=8)[0]  # some leave nothing of their image
    found = move(images, augmentation)
    expected = np.stack([moved(image, *m) for image, m in zip(images, augmentation, strict=True)])
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert not expected[np.abs(augmentation[:, 1]) >= 6].any()
    one = moved(images[0], 1, 0, 0)
    assert np.array_equal(one, images[0, :, :, ::-1])

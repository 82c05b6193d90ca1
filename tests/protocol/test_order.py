from __future__ import annotations

import hashlib

import numpy as np
import pytest

from harness.config import Training
from harness.execution.inputs import TrainingInputs
from harness.protocol.order import epoch_order, steps_per_epoch


@pytest.mark.parametrize(
    ("examples", "batch", "steps"), [(10, 3, 3), (9, 3, 3), (3, 3, 1), (5, 1, 5)]
)
def test_full_batches_of_different_images(examples, batch, steps):
    order = epoch_order(examples, batch, seed=0, epoch=0)
    assert steps_per_epoch(examples, batch) == steps
    assert order.shape == (steps, batch)
    assert order.dtype == np.int64
    assert len(np.unique(order)) == order.size
    assert order.min() >= 0
    assert order.max() < examples


def test_every_epoch_and_seed_has_its_own_order():
    orders = [epoch_order(50, 8, seed, epoch) for seed in (0, 1, 10) for epoch in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(epoch_order(50, 8, 1, 2), orders[5])


def test_another_remainder_each_epoch():
    left_out = {
        tuple(sorted(set(range(20)) - set(epoch_order(20, 8, 0, epoch).flat))) for epoch in range(6)
    }
    assert len(left_out) > 1


def test_known_order():
    """Another answer means another protocol: runs before and after cannot be compared."""
    assert epoch_order(7, 3, seed=0, epoch=0).tolist() == [[2, 5, 3], [4, 1, 0]]
    whole = epoch_order(1000, 64, seed=1, epoch=2)
    assert hashlib.sha256(whole.tobytes()).hexdigest()[:16] == "49a4c1d598ae361d"


def test_a_long_training_is_drawn_epoch_by_epoch():
    """A million epochs of 1,438 images would be 11 GB of indices."""
    training = Training(epochs=1_000_000, batch_size=512)
    inputs = TrainingInputs.make({}, training, examples=1438, seed=3)
    assert len(inputs.orders) == len(inputs.augmentation) == 1_000_000
    np.testing.assert_array_equal(inputs.orders[999_999], epoch_order(1438, 512, 3, 999_999))
    np.testing.assert_array_equal(inputs.orders[-1], inputs.orders[999_999])
    assert inputs.orders[0] is inputs.orders[0]
    assert inputs.augmentation[7] is None
    with pytest.raises(IndexError):
        inputs.orders[1_000_000]

from __future__ import annotations

import numpy as np

from harness.protocol.positives import balancing_weights


def test_positives_and_negatives_weigh_the_same_in_sum():
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0]], np.uint8)
    assert balancing_weights(labels) == (3.0, 3.0, 1.0, 3.0)
    assert balancing_weights(np.zeros((5, 2), np.uint8)) == (1.0, 1.0)


def test_many_positives_count_less_and_nothing_overflows():
    labels = np.ones((1000, 1), np.uint8)
    labels[:10] = 0
    assert balancing_weights(labels) == (10 / 990,)

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from harness.measure.metrics import evaluate_multiclass


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_and_accuracy_are_scikit_learns(dtype):
    rng = np.random.default_rng(1)
    logits = (3 * rng.standard_normal((200, 5))).astype(dtype)
    labels = rng.integers(0, 5, 200).astype(np.uint8)
    got = evaluate_multiclass(logits, labels)
    exponents = np.exp(logits.astype(np.float64))
    shares = exponents / exponents.sum(axis=1, keepdims=True)
    assert got.loss == pytest.approx(log_loss(labels, shares, labels=range(5)), rel=1e-9)
    assert got.accuracy == accuracy_score(labels, logits.argmax(axis=1))
    assert got.examples == 200


def test_large_logits_do_not_overflow():
    got = evaluate_multiclass(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert got.loss == 5e3
    assert got.correct == 1


def test_of_equals_the_first_counts():
    logits = np.zeros((3, 3))
    assert evaluate_multiclass(logits, np.array([0, 1, 2])).correct == 1


def test_nan_is_wrong():
    logits = np.array([[np.nan, 0.0], [1.0, 0.0], [5.0, np.nan]])
    got = evaluate_multiclass(logits, np.array([0, 0, 0]))
    assert got.correct == 1
    assert np.isnan(got.loss)

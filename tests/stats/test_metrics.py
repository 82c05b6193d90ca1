from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from harness.stats.metrics import (
    class_counts,
    confusion,
    evaluate,
    macro_f1,
    mean_auroc,
    micro_f1,
    predictions,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_and_accuracy_are_scikit_learns(dtype):
    rng = np.random.default_rng(1)
    logits = (3 * rng.standard_normal((200, 5))).astype(dtype)
    labels = rng.integers(0, 5, 200).astype(np.uint8)
    got = evaluate("multiclass", logits, labels)
    exponents = np.exp(logits.astype(np.float64))
    shares = exponents / exponents.sum(axis=1, keepdims=True)
    assert got.loss == pytest.approx(log_loss(labels, shares, labels=range(5)), rel=1e-9)
    assert got.accuracy == accuracy_score(labels, logits.argmax(axis=1))
    assert got.examples == 200


def test_large_logits_do_not_overflow():
    got = evaluate("multiclass", np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert got.loss == 5e3
    assert got.correct == 1


def test_of_equals_the_first_counts():
    logits = np.zeros((3, 3))
    assert evaluate("multiclass", logits, np.array([0, 1, 2])).correct == 1


def test_nan_is_wrong():
    logits = np.array([[np.nan, 0.0], [1.0, 0.0], [5.0, np.nan]])
    got = evaluate("multiclass", logits, np.array([0, 0, 0]))
    assert got.correct == 1
    assert np.isnan(got.loss)


def test_several_labels_an_image_are_scored_as_scikit_learn_does():
    rng = np.random.default_rng(2)
    logits = 2 * rng.standard_normal((300, 4))
    labels = (rng.random((300, 4)) < 1 / (1 + np.exp(-logits / 2))).astype(np.uint8)
    got = evaluate("multilabel", logits, labels)
    shares = 1 / (1 + np.exp(-logits))
    losses = [log_loss(labels[:, k], shares[:, k]) for k in range(4)]
    assert got.loss == pytest.approx(np.mean(losses), rel=1e-9)
    assert got.accuracy == accuracy_score(labels, logits > 0)
    assert got.auroc == pytest.approx([roc_auc_score(labels[:, k], logits[:, k]) for k in range(4)])
    assert got.mean_auroc == pytest.approx(np.mean(got.auroc))


def test_a_label_that_never_or_always_occurs_has_no_auroc():
    logits = np.array([[1.0, 1, 1], [2, 2, 2], [3, 3, 3]])
    labels = np.array([[0, 0, 1], [0, 1, 1], [0, 0, 1]], np.uint8)
    got = evaluate("multilabel", logits, labels)
    assert got.auroc == (None, 0.5, None)
    assert got.mean_auroc == 0.5
    assert mean_auroc((None, None)) is None


def test_two_classes_have_the_auroc_of_the_second_and_more_have_none():
    logits = np.array([[0.0, 3], [0, 1], [0, 2], [5, 6]])
    labels = np.array([1, 0, 1, 0], np.uint8)
    assert evaluate("multiclass", logits, labels).auroc == (1.0,)
    assert evaluate("multiclass", np.zeros((4, 3)), labels).auroc == ()


def test_labels_are_given_above_zero_and_nan_is_no_answer():
    logits = np.array([[0.0, 1e-9], [-1, np.nan]])
    assert predictions("multilabel", logits).tolist() == [[0, 1], [0, -1]]
    got = evaluate("multilabel", logits, np.array([[0, 1], [0, 1]], np.uint8))
    assert got.correct == 1
    assert got.auroc == (None, None)


def test_large_multilabel_logits_do_not_overflow():
    got = evaluate("multilabel", np.array([[1e4, -1e4]]), np.array([[0, 0]], np.uint8))
    assert got.loss == 5e3


def test_f1_and_confusion_are_scikit_learns():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 300).astype(np.uint8)
    answers = np.where(rng.random(300) < 0.6, labels, rng.integers(0, 4, 300))
    found = class_counts(answers, labels, 4)
    assert [score.f1 for score in found] == pytest.approx(f1_score(labels, answers, average=None))
    assert macro_f1(found) == pytest.approx(f1_score(labels, answers, average="macro"))
    assert [score.positives for score in found] == np.bincount(labels).tolist()
    assert [score.predicted for score in found] == np.bincount(answers).tolist()
    counts = confusion(answers, labels, 4)
    assert counts[1, 2] == ((labels == 1) & (answers == 2)).sum()
    assert counts.sum() == 300


def test_f1_of_labels():
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, (100, 3)).astype(np.uint8)
    answers = rng.integers(0, 2, (100, 3))
    found = class_counts(answers, labels, 3)
    assert [score.f1 for score in found] == pytest.approx(f1_score(labels, answers, average=None))
    assert micro_f1(answers, labels) == pytest.approx(f1_score(labels, answers, average="micro"))


def test_f1_is_0_where_nothing_is_given_and_undefined_without_positives():
    labels = np.array([[1, 0, 0], [1, 0, 0]], np.uint8)
    answers = np.array([[0, 1, 0], [0, 0, 0]])
    found = class_counts(answers, labels, 3)
    assert [(s.positives, s.predicted, s.f1) for s in found] == [
        (2, 0, 0.0),
        (0, 1, None),
        (0, 0, None),
    ]
    assert macro_f1(found) == 0
    assert micro_f1(answers, labels) == 0
    assert micro_f1(answers, 0 * labels) is None
    assert macro_f1(found[1:]) is None


def test_no_answer_is_wrong_in_f1_and_not_in_the_matrix():
    labels, answers = np.array([0, 0, 1], np.uint8), np.array([0, -1, 1])
    assert [score.f1 for score in class_counts(answers, labels, 2)] == pytest.approx([2 / 3, 1])
    assert confusion(answers, labels, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]

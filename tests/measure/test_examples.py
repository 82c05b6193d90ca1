"""Which test images are shown: by the rule, whatever the order and whoever asks."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measure.examples import EACH, ERRORS, HITS, choose

# Six images, two labels.
LOGITS = np.array([[9.0, 1], [8, 7], [7, -1], [-5, 6], [-4, -9], [5, -8]])
LABELS = np.array([[1, 1], [1, 1], [0, 0], [1, 0], [0, 1], [0, 1]], np.uint8)


def places(found):
    return list(zip(found.rows.tolist(), found.outputs.tolist(), strict=True))


def test_highest_positives_then_highest_negatives_then_lowest_positives_of_different_labels():
    found = choose("multilabel", LOGITS, LABELS)
    # Image 1 has the second highest score of label 0 too, but label 0 has been shown by then.
    assert places(found) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 1), (5, 1)]
    assert found.rows.dtype == found.outputs.dtype == np.int64


def test_a_label_comes_again_where_there_is_no_other():
    found = choose("multilabel", LOGITS[:, :1], LABELS[:, :1])
    assert places(found) == [(0, 0), (1, 0), (2, 0), (5, 0), (3, 0)]


def test_no_patient_comes_twice():
    groups = np.array([7, 7, 7, 8, 8, 9])
    found = choose("multilabel", LOGITS, LABELS, groups)
    assert places(found) == [(0, 0), (5, 1), (3, 1)]
    many = np.random.default_rng(0)
    logits, labels = many.standard_normal((200, 5)), many.integers(0, 2, (200, 5))
    groups = many.integers(0, 9, 200)
    rows = choose("multilabel", logits, labels, groups).rows
    assert len(rows) == len(set(groups[rows].tolist())) == 3 * EACH


def test_two_classes_are_shown_for_the_second():
    logits = np.array([[0.0, 3], [0, -3], [0, 2], [4, 0], [1, 0]])
    found = choose("multiclass", logits, np.array([1, 1, 0, 0, 1], np.uint8))
    assert places(found) == [(0, 1), (4, 1), (2, 1), (3, 1), (1, 1)]


def test_several_classes_show_the_surest_errors_of_different_classes_then_hits():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300).astype(np.uint8)
    logits = 2 * np.eye(3)[labels] + 2 * rng.standard_normal((300, 3))
    found = choose("multiclass", logits, labels)
    answers = logits.argmax(axis=1)
    assert found.outputs.tolist() == answers[found.rows].tolist()
    errors, correct_rows = found.rows[:ERRORS], found.rows[ERRORS:]
    assert (answers[errors] != labels[errors]).all()
    assert set(labels[errors[:3]].tolist()) == {0, 1, 2}
    assert (answers[correct_rows] == labels[correct_rows]).all()
    assert len(correct_rows) == HITS
    sure = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    assert errors[0] == np.where(answers != labels, sure, 0).argmax()
    assert correct_rows[0] == np.where(answers == labels, sure, 0).argmax()


def test_of_equals_the_first_is_chosen():
    found = choose("multiclass", np.eye(3)[[0, 0, 0]], np.array([0, 0, 0], np.uint8))
    assert found.rows.tolist() == [0, 1]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_images_without_numbers_are_never_chosen(task):
    labels = LABELS if task == "multilabel" else LABELS[:, 0]
    assert len(choose(task, np.full_like(LOGITS, np.nan), labels).rows) == 0
    some = LOGITS.copy()
    some[0, 1] = np.nan
    assert 0 not in choose(task, some, labels).rows

"""F1, confusion matrices and example predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from harness.analysis.examples import map_difference
from harness.analysis.predictions import alike
from harness.analysis.summary import RunSummary

TWO = ("torch", "jax")
LABELLED = {"frameworks": TWO, "task": "multilabel", "classes": ("a", "b", "never")}


def only(folder):
    (each,) = RunSummary.read(folder).workloads
    return each


def arrays(folder, framework):
    cells = [cell for cell in folder.manifest.cells if cell.framework == framework]
    return [folder.read_arrays(cell) for cell in cells]


def test_f1_of_labels_is_that_of_scikit_learn(make_run):
    folder = make_run(**LABELLED, never=("never",), seeds=(0, 1), quality={"jax": 3.0})
    own = only(folder).predictions[1]
    kept = arrays(folder, "jax")
    given = [a.test_logits > 0 for a in kept]
    for index in range(2):
        scores = [f1_score(a.test_labels[:, index], g[:, index])
                  for a, g in zip(kept, given, strict=True)]  # fmt: skip
        assert own.f1(index) == pytest.approx(np.mean(scores))
        assert own.positives(index) == kept[0].test_labels[:, index].sum()
        assert own.predicted_times(index) == np.mean([g[:, index].sum() for g in given])
    assert np.isnan(own.f1(2))
    for average, value in (("macro", own.macro_f1), ("micro", own.micro_f1)):
        shown = slice(None, 2) if average == "macro" else slice(None)
        scores = [f1_score(a.test_labels[:, shown], g[:, shown], average=average)
                  for a, g in zip(kept, given, strict=True)]  # fmt: skip
        assert value == pytest.approx(np.mean(scores))


def test_a_label_that_is_never_predicted_has_an_f1_of_0(make_run):
    found = only(make_run(**LABELLED, seeds=(0,), quality=dict.fromkeys(TWO, -99.0))).predictions
    assert found[0].f1(0) == 0


def test_two_classes(make_run):
    folder = make_run(frameworks=TWO, classes=("healthy", "ill"), seeds=(0,))
    own = only(folder).predictions[0]
    (one,) = arrays(folder, "torch")
    predicted = one.test_logits.argmax(axis=1)
    assert (own.confusion == confusion_matrix(one.test_labels, predicted)).all()
    for index in (0, 1):
        recall = recall_score(one.test_labels, predicted, pos_label=index)
        assert own.recall(index).value == pytest.approx(recall)


def test_several_classes(make_run):
    folder = make_run(frameworks=TWO, seeds=(0, 1))
    own = only(folder).predictions[0]
    kept = arrays(folder, "torch")
    f1 = [f1_score(a.test_labels, a.test_logits.argmax(axis=1), average="macro") for a in kept]
    assert own.macro_f1 == pytest.approx(np.mean(f1))
    true, given, images = own.most_confused
    assert own.confusion[true, given] == images
    assert (given - true) % 10 == 1  # as the made-up errors are
    assert own.lowest_f1[1] == pytest.approx(min(own.f1(index) for index in range(10)))


def test_logits_that_are_not_numbers_and_classes_without_images(make_run):
    folder = make_run(frameworks=TWO, seeds=(0,), classes=("a", "b", "c", "d"))
    for cell in folder.manifest.cells:
        kept = folder.read_arrays(cell)
        kept.test_labels[kept.test_labels == 3] = 0
        kept.test_logits[:2] = np.nan
        folder.write_arrays(cell, kept)
    own = only(folder).predictions[0]
    assert own.without == 2
    assert own.recall(3) is None
    assert own.confusion.sum() == 58
    for path in (folder.path / "cells").glob("*.h5"):
        path.unlink()
    assert only(folder).predictions == []


def test_what_is_the_same_is_found_once(make_run):
    wrong = {"torch": 2, "jax": 3, "knet": 2}
    found = only(make_run(frameworks=tuple(wrong), wrong=wrong)).predictions
    groups = alike(found, type(found[0]).same_as)
    titles = [[each.outcome.framework for each in group] for group in groups]
    assert titles == [["torch", "knet"], ["jax"]]


@pytest.fixture
def kept(make_run):
    def make(name="run", **changes):
        return make_run(name, **({**LABELLED, "examples": True} | changes))

    return make


def test_examples_have_truth_and_probabilities(kept):
    folder = kept()
    found = only(folder).examples
    one = arrays(folder, "torch")[0]
    row, output = int(one.example_rows[0]), int(one.example_outputs[0])
    assert found.rows[0] == row
    assert found.shown_for(0) == ("a", "b", "never")[output]
    assert found.probabilities[0][0] == pytest.approx(
        1 / (1 + np.exp(-one.test_logits[row, output]))
    )
    names = zip(("a", "b", "never"), one.test_labels[row], strict=True)
    assert found.truth(0) == [name for name, has in names if has]
    # 1 out of a maximum of 4, as the made-up maps are.
    assert map_difference(found.cells[0][1], found.cells[1][1]) == 0.25
    assert len(found.distinct) == 2


def test_maps_that_look_the_same_are_found_once(kept):
    folder = kept(frameworks=("torch", "jax", "knet"), seeds=(0,))
    groups = only(folder).examples.distinct
    assert [[o.framework for o, _ in group] for group in groups] == [["torch"], ["jax", "knet"]]


def test_examples_of_one_class_an_image(make_run):
    folder = make_run(frameworks=TWO, classes=("x", "y", "z"), seeds=(0,), examples=True)
    one = arrays(folder, "torch")[0]
    logits = one.test_logits[one.example_rows].astype(float)
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = given[np.arange(len(given)), one.example_outputs]
    assert only(folder).examples.probabilities[0] == pytest.approx(expected)


def test_maps_that_cannot_be_compared(kept):
    folder = kept(seeds=(0,))
    second = folder.manifest.cells[1]

    def change(**fields):
        one = folder.read_arrays(second)
        folder.write_arrays(second, one.model_copy(update=fields))
        return only(folder).examples

    one = folder.read_arrays(second)
    count = len(one.example_maps)
    for maps, said in (
        (np.ones((count, 2, 5)), "another size"),
        (np.full((count, 3, 3), np.nan), "not numbers"),
        (np.zeros((count, 3, 3)), 1.0),
    ):
        found = change(example_maps=maps)
        assert map_difference(found.cells[0][1], found.cells[1][1]) == said
    names = ("example_rows", "example_outputs", "example_images", "example_maps")
    for fields in ({"example_rows": one.example_rows[::-1]}, dict.fromkeys(names)):
        found = change(**fields)
        assert [outcome.framework for outcome in found.others] == ["jax"]

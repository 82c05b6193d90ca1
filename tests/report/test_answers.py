"""F1, confusion matrices, and the examples with their class-activation maps."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from harness.analysis.comparison import Run
from harness.report import pictures
from harness.report.examples import shown
from harness.report.figures import STYLE, draw
from harness.report.render import render
from harness.results.folder import CellArrays, RunFolder

MakeRun = Callable[..., RunFolder]
TWO = ("torch", "jax")
LABELLED = {"frameworks": TWO, "task": "multilabel", "classes": ("a", "b", "never")}


def written(folder: RunFolder) -> str:
    return render(folder.path).read_text(encoding="utf-8")


def rows(markdown: str, title: str) -> dict[str, list[str]]:
    """The first table below the heading or summary ``title``, by the first cell of each row."""
    below = markdown.split(title, 1)[1]
    lines = re.search(r"(^\|.*\n)+", below, re.MULTILINE)
    assert lines is not None
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in lines[0].splitlines()]
    return {row[0]: row[1:] for row in cells}


def arrays(folder: RunFolder) -> list[CellArrays]:
    found = [folder.read_arrays(cell) for cell in folder.manifest.cells]
    return [one for one in found if one is not None]


def test_f1_of_labels_is_that_of_scikit_learn(make_run: MakeRun) -> None:
    folder = make_run(**LABELLED, never=("never",), seeds=(0, 1), quality={"jax": 3.0})
    found = rows(written(folder), "#### F1 of each label")
    own = [a for a, c in zip(arrays(folder), folder.manifest.cells, strict=True)
           if c.framework == "jax"]  # fmt: skip
    given = [a.test_logits > 0 for a in own]
    for place, label in enumerate("ab"):
        scores = [f1_score(a.test_labels[:, place], g[:, place])
                  for a, g in zip(own, given, strict=True)]  # fmt: skip
        assert found[label][4] == f"{np.mean(scores):.3f}"
        assert found[label][0] == str(own[0].test_labels[:, place].sum())
        assert found[label][3] == f"{np.mean([g[:, place].sum() for g in given]):,.4g}"
    assert (found["never"][0], found["never"][2], found["never"][4]) == ("0", *["undefined"] * 2)
    macro = [f1_score(a.test_labels[:, :2], g[:, :2], average="macro")
             for a, g in zip(own, given, strict=True)]  # fmt: skip
    micro = [f1_score(a.test_labels, g, average="micro") for a, g in zip(own, given, strict=True)]
    assert found["**macro, mean of 2**"][4] == f"{np.mean(macro):.3f}"
    assert found["**micro, all labels**"][4] == f"{np.mean(micro):.3f}"


def test_a_label_that_is_never_given_has_an_f1_of_0(make_run: MakeRun) -> None:
    report = written(make_run(**LABELLED, seeds=(0,), quality=dict.fromkeys(TWO, -99.0)))
    found = rows(report, "#### F1 of each label")
    assert found["a"][2] == "0.000"
    assert "A label that is never given has an F1 of 0" in report


def test_two_classes(make_run: MakeRun) -> None:
    folder = make_run(frameworks=TWO, classes=("healthy", "ill"), seeds=(0,))
    report = written(folder)
    found = rows(report, "## Confusion matrix and F1")
    one = arrays(folder)[0]
    labels, answers = one.test_labels, one.test_logits.argmax(axis=1)
    (none, false), (missed, hit) = confusion_matrix(labels, answers)
    assert found["PyTorch"][3:] == [str(hit), str(missed), str(false), str(none)]
    assert found["PyTorch"][0] == f"{f1_score(labels, answers):.3f}"
    for column, place in ((1, 1), (2, 0)):
        share = recall_score(labels, answers, pos_label=place)
        assert found["PyTorch"][column].startswith(f"{100 * share:.1f} % (")
    assert not list(folder.path.glob("figures/*confusion*"))
    assert "**Sensitivity**, **specificity**" in report


def test_several_classes(make_run: MakeRun) -> None:
    folder = make_run(frameworks=TWO, seeds=(0, 1))
    report = written(folder)
    found = rows(report, "## Confusion matrix and F1")
    own = [a for a, c in zip(arrays(folder), folder.manifest.cells, strict=True)
           if c.framework == "torch"]  # fmt: skip
    f1 = [f1_score(a.test_labels, a.test_logits.argmax(axis=1), average="macro") for a in own]
    assert found["PyTorch"][0] == f"{np.mean(f1):.3f}"
    assert "counts are of all seeds together" in report
    assert "![Confusion matrix of each framework" in report
    assert "specificity" not in report.partition("## How to read this")[2]
    (figure,) = folder.path.glob("figures/*confusion.svg")
    assert figure.stat().st_size < 200_000


def test_answers_without_predictions_and_without_numbers(make_run: MakeRun) -> None:
    folder = make_run(frameworks=TWO, seeds=(0,), classes=("a", "b", "c", "d"))
    for cell in folder.manifest.cells:
        kept = folder.read_arrays(cell)
        assert kept is not None
        kept.test_labels[kept.test_labels == 3] = 0
        kept.test_logits[:2] = np.nan
        folder.write_arrays(cell, kept)
    report = written(folder)
    assert "PyTorch gave no answer 2 times, because a logit was not a number" in report
    assert "The test split has no image of d: there F1 is not defined" in report
    for path in (folder.path / "cells").glob("*.h5"):
        path.unlink()
    assert "## Confusion matrix" not in written(folder)


@pytest.fixture
def kept(make_run: MakeRun) -> Callable[..., RunFolder]:
    def make(name: str = "run", **changes: object) -> RunFolder:
        return make_run(name, **({**LABELLED, "examples": True} | changes))

    return make


def test_examples_are_shown_with_truth_and_probabilities(kept) -> None:
    folder = kept()
    report = written(folder)
    found = rows(report, "The same examples as a table")
    one = folder.read_arrays(folder.manifest.cells[0])
    assert one is not None
    assert one.example_rows is not None
    row, output = int(one.example_rows[0]), int(one.example_outputs[0])
    assert found["1"][0] == str(row)
    assert found["1"][2] == "ab"[output] if output < 2 else "never"
    assert found["1"][3] == f"{1 / (1 + np.exp(-one.test_logits[row, output])):.3f}"
    truth = [name for name, has in zip(("a", "b", "never"), one.test_labels[row], strict=True)
             if has]  # fmt: skip
    assert found["1"][1] == " and ".join([", ".join(truth[:-1]), truth[-1]] if truth[1:] else truth)
    assert len(found) == 2 + len(one.example_rows)
    assert "**where a score comes from, not whether it is right**" in report
    assert "No patient is shown twice. A map has 3 x 3 cells, spread over 28 x 28 pixels." in report
    assert "synthetic" not in report.partition("## How each framework does it")[0]
    # 1 out of a maximum of 4, as the made-up maps are.
    assert "relative to the larger of the two maps' maxima: 0.25 for JAX (Flax NNX)." in report


def test_the_figure_is_a_small_png_and_always_the_same(kept) -> None:
    folder = kept(frameworks=("torch", "jax", "knet", "julia", "torch-compile", "jax-s2d"),
                  image_shape=(1, 224, 224), seeds=(0,))  # fmt: skip
    (group,) = Run.read(folder).groups
    found = shown(group)
    assert found is not None
    assert len(found.rows) == 6
    drawn = pictures.draw(found, STYLE)
    assert drawn == pictures.draw(found, STYLE)
    assert len(drawn) < 200_000, "six panels of pure noise are the worst there is"
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.format == "PNG"
        assert picture.width > 7 * 96


@pytest.mark.parametrize("classes", [("x", "$y$"), ("x", "y", "z")])
def test_examples_of_one_class_an_image(make_run: MakeRun, classes: tuple[str, ...]) -> None:
    folder = make_run(frameworks=TWO, classes=classes, seeds=(0,), examples=True, patients=False,
                      image_shape=(3, 20, 30), license="synthetic")  # fmt: skip
    report = written(folder)
    rule = "the wrong answers of the highest probability" if len(classes) > 2 else "positives with"
    assert rule in report
    assert "No patient is shown twice" not in report
    assert "**These pictures are synthetic**: no patient" in report
    one = folder.read_arrays(folder.manifest.cells[0])
    assert one is not None
    logits = one.test_logits[one.example_rows].astype(float)
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = rows(report, "The same examples as a table")
    expected = given[np.arange(len(given)), one.example_outputs]
    assert [row[3] for row in list(found.values())[2:]] == [f"{p:.3f}" for p in expected]


def test_runs_without_examples_have_no_such_section(make_run: MakeRun) -> None:
    report = written(make_run(seeds=(0,)))
    assert "Hits and misses" not in report
    assert "Class-activation" not in report


def test_maps_that_cannot_be_compared_are_admitted(kept) -> None:
    folder = kept("size", seeds=(0,))
    first, second = folder.manifest.cells

    def change(**fields: np.ndarray | None) -> str:
        one = folder.read_arrays(second)
        assert one is not None
        folder.write_arrays(second, one.model_copy(update=fields))
        return written(folder)

    one = folder.read_arrays(second)
    assert one is not None
    assert one.example_maps is not None
    count = len(one.example_maps)
    assert "maps of another size (2 x 5 cells against 3 x 3) for JAX" in change(
        example_maps=np.ones((count, 2, 5))
    )
    assert "maps that are not numbers for JAX" in change(
        example_maps=np.full((count, 3, 3), np.nan)
    )
    report = change(example_maps=np.zeros((count, 3, 3)))
    assert "maxima: 1.0 for JAX" in report
    assert "JAX (Flax NNX) kept no maps of these images." in change(
        example_rows=one.example_rows[::-1]
    )
    assert "JAX (Flax NNX) kept no maps" in change(
        **dict.fromkeys(("example_rows", "example_outputs", "example_images", "example_maps"))
    )
    assert folder.read_arrays(first) is not None


def test_a_map_is_scaled_by_its_maximum_and_spread_bilinearly() -> None:
    image = np.full((4, 4, 3), 0.5)
    for scale in (1.0, 1000.0):
        picture, said = pictures.overlaid(image, scale * np.array([[0.0, 1.0]]))
        assert said == ""
        # Half-pixel centres: 1/4 and 3/4 of the way between the two cells.
        strength = np.tile([0, 0.25, 0.75, 1], (4, 1))
        np.testing.assert_allclose(picture, pictures.blend(image, strength), atol=1e-6)
    np.testing.assert_array_equal(picture[:, 0], image[:, 0])
    for grid, note in ((np.zeros((2, 2)), "all 0"), (np.full((2, 2), np.nan), "not a number")):
        picture, said = pictures.overlaid(image, grid)
        assert note in said
        np.testing.assert_array_equal(picture, image)


def test_figures_know_nothing_of_a_persons_style(kept) -> None:
    import matplotlib as mpl

    run = Run.read(kept(seeds=(0,), frameworks=("torch",)))
    (group,) = run.groups
    before = draw(run, group)["examples"]
    with mpl.rc_context({"text.color": "red", "savefig.dpi": 30}):
        assert draw(run, group)["examples"] == before

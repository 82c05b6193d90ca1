"""Reports on data sets with several labels, or two classes: AUROC first, nothing overstated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from harness.analysis.comparison import Run
from harness.cli import main
from harness.cli.progress import summary
from harness.report.labels import apart, is_synthetic
from harness.report.published import studies
from harness.report.render import render
from harness.report.text import difference_parts
from harness.results.folder import RunFolder
from harness.stats.statistics import Estimate, Ranking, group_support

MakeRun = Callable[..., RunFolder]
NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
TWO = ("torch", "jax")


@pytest.fixture
def labelled(make_run: MakeRun) -> Callable[..., RunFolder]:
    """A run with the labels a, b and never; no test image has the last."""

    def make(name: str = "run", **changes: object) -> RunFolder:
        settings: dict[str, object] = {
            "frameworks": TWO,
            "task": "multilabel",
            "classes": ("a", "b", "never"),
            "never": ("never",),
        }
        return make_run(name, **(settings | changes))

    return make


def written(folder: RunFolder) -> str:
    return render(folder.path).read_text(encoding="utf-8")


def rows(markdown: str, first: str) -> dict[str, list[str]]:
    """The table whose header begins with ``first``, by the first cell of each row."""
    return {row[0]: row[1:] for row in next(t for t in tables(markdown) if t[0][0] == first)}


def tables(markdown: str) -> Iterator[list[list[str]]]:
    prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n", prose):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            yield [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_headline_has_auroc_before_accuracy(labelled) -> None:
    folder = labelled()
    report = written(folder)
    shown = rows(report, "Framework")
    assert shown["Framework"][:2] == ["Mean AUROC (95 %)", "All labels right (95 %)"]
    results = [r.test for r in folder.results() if r.cell.framework == "jax" and r.test]
    means = [float(np.mean(test.auroc[:2])) for test in results]
    assert shown["JAX (Flax NNX)"][0].startswith(f"{np.mean(means):.3f} (")
    assert shown["JAX (Flax NNX)"][0].endswith(f"; seeds {min(means):.3f} to {max(means):.3f}")
    assert "as if the images of one patient had nothing in common" in report
    assert "says little here: never giving any label would get" in report
    assert "Test accuracy" not in report.partition("## How to read this")[0]


def test_label_table_is_that_of_scikit_learn(labelled) -> None:
    folder = labelled(seeds=(3,))
    report = written(folder)
    shown = rows(report, "Label")
    arrays = folder.read_arrays(folder.manifest.cells[0])
    assert arrays is not None
    assert arrays.test_groups is not None
    ranking = Ranking.of(arrays.test_logits, arrays.test_labels, arrays.test_groups)
    for place, label in enumerate("ab"):
        answer, score = arrays.test_labels[:, place], arrays.test_logits[:, place]
        _, low, high = ranking.label(place).interval()
        assert shown[label][1] == f"{roc_auc_score(answer, score):.3f} ({low:.3f} to {high:.3f})"
        patients = len(set(arrays.test_groups[answer == 1]))
        assert shown[label][0] == f"{answer.sum()} of 60 ({patients} patients)"
    assert shown["never"] == ["0 of 60", *["undefined (0 positives)"] * 2]
    assert shown["**mean of 2**"][0] == ""
    assert "over the 30 patients of the 60 test images" in report
    assert "it leaves out never." in report
    assert "nan" not in re.sub(r"`{3}.*?`{3}", "", report, flags=re.DOTALL).casefold().split()

    precise = report.partition("<summary>Average precision")[2]
    score, answer = arrays.test_logits[:, 0], arrays.test_labels[:, 0]
    probability = 1 / (1 + np.exp(-score))
    share = answer.mean()
    assert rows(precise, "Label")["a"] == [
        f"{100 * share:.1f} %",
        *[f"{average_precision_score(answer, score):.3f}"] * 2,
        f"{share * (1 - share):.4f}",
        *[f"{brier_score_loss(answer, probability):.4f}"] * 2,
    ]
    assert rows(precise, "Label")["never"][1:3] == ["—", "—"]


def test_without_patients_images_are_drawn(labelled) -> None:
    report = written(labelled(patients=False))
    assert "on the logit scale, over images, because the data set does not say" in report
    assert "as if the images of one patient" not in report
    assert "patients)" not in report.partition("## What each framework is")[0]


def test_few_positives_have_no_interval_and_weaken_the_mean(labelled) -> None:
    folder = labelled(frameworks=("torch",), seeds=(0,))
    cell = folder.manifest.cells[0]
    arrays, result = folder.read_arrays(cell), folder.read_result(cell)
    assert arrays is not None
    assert result is not None
    assert result.test is not None
    arrays.test_labels[:, 1] = 0
    arrays.test_labels[:6, 1] = 1
    assert group_support(arrays.test_labels, arrays.test_groups)[1] == 3
    folder.write_arrays(cell, arrays)
    assert "**Scores disagree**: PyTorch" in written(folder)

    area = roc_auc_score(arrays.test_labels[:, 1], arrays.test_logits[:, 1])
    auroc = (result.test.auroc[0], area, None)
    test = result.test.model_copy(update={"auroc": auroc})
    folder.write_result(result.model_copy(update={"test": test}))
    report = written(folder)
    assert "Scores disagree" not in report
    assert rows(report, "Label")["b"] == ["6 of 60 (3 patients)", f"{area:.3f}"]
    assert "**The mean rests on little**: 1 of its 2 labels is that rare." in report


def test_equal_networks_show_no_difference(labelled) -> None:
    report = written(labelled())
    opening = report.splitlines()[2]
    assert "No difference in mean AUROC is shown (" in opening
    assert "No difference in the share of images with all labels right is shown (" in opening
    assert report.count("| 0 (0 to 0) | no difference shown |") == 2


def test_a_difference_is_one_only_beyond_the_patients_noise(labelled) -> None:
    folder = labelled(quality={"torch": 3.0, "jax": 0.0}, seeds=(0,))
    report = written(folder)
    opening = report.splitlines()[2]
    assert "differs beyond the noise of the test patients between PyTorch and JAX" in opening
    assert "**JAX (Flax NNX) is not shown to rank images better than guessing" in opening
    assert "**a difference** |" in report

    (pair,) = Run.read(folder).groups[0].pairs
    (test,) = pair.rank_tests
    found = test.difference(1)
    assert found.value == pytest.approx(test.first - test.second)
    assert apart(found)
    assert test.difference(100).low < found.low


def test_intervals_widen_with_the_number_of_comparisons(labelled) -> None:
    folder = labelled(frameworks=("torch", "jax", "knet", "julia-reference"), seeds=(0, 1))
    group = Run.read(folder).groups[0]
    assert group.rank_test_count == 12
    report = written(folder)
    assert "All 12 comparisons give exactly the same mean AUROC." in report


def test_two_classes_are_one_label(make_run: MakeRun) -> None:
    folder = make_run(frameworks=TWO, classes=("healthy", "ill"), seeds=(0,))
    report = written(folder)
    assert rows(report, "Framework")["Framework"][:2] == ["AUROC (95 %)", "Test accuracy (95 %)"]
    test = folder.results()[0].test
    assert test is not None
    shown = rows(report, "Label")
    assert set(shown) == {"Label", ":---", "ill"}
    assert shown["ill"][1].startswith(f"{test.auroc[0]:.3f} (")
    assert "**mean of" not in report
    assert "No difference in AUROC is shown" in report.splitlines()[2]
    assert "all labels right" not in report


def test_nih_labels_stand_beside_what_was_published(labelled) -> None:
    report = written(labelled(classes=NIH, never=("Hernia",)))
    shown = rows(report, "Label")
    assert shown["Label"][-2:] == ["CheXNet, published", "reproduce-chexnet, published"]
    assert shown[r"Pleural\_Thickening"][-2:] == ["0.806", "0.789"]
    assert shown["Hernia"][-2:] == ["0.916", "0.917"]
    rest = [f"{np.mean([s.of(n) for n in NIH if n != 'Hernia']):.3f}" for s in studies(NIH)]
    assert shown["**mean of 13**"][-2:] == rest
    differs = rows(report, "")
    assert differs["image"] == ["28 x 28 pixels", *["224 x 224 pixels"] * 2]
    assert differs["images"][0] == "632 in all: 512 training, 60 validation, 60 test"
    assert differs["split"][0] == "made up | by hand".replace("|", r"\|")
    assert "arXiv:1711.05225" in differs["source"][1]


def test_published_figures_are_those_known() -> None:
    found = {study.name: np.mean(list(study.auroc.values())) for study in studies(NIH[::-1])}
    assert found == pytest.approx({"CheXNet": 0.8414, "reproduce-chexnet": 0.8383}, abs=5e-5)
    assert studies(NIH[:13]) == []
    assert studies([name.replace("_", " ").lower() for name in NIH])


def test_synthetic_pictures_are_said_to_be(labelled) -> None:
    report = written(labelled(classes=NIH, license="synthetic, CC0"))
    assert "**The pictures of digits are synthetic**" in report.partition("## Headline")[0]
    assert "| pictures | **synthetic** |" in report
    assert "published" not in report.partition("## How to read this")[0]
    folder = labelled("real", classes=NIH)
    assert "synthetic" not in written(folder).partition("## How each framework does it")[0]
    assert is_synthetic("xray-phantom", folder.manifest.datasets["digits"])


def test_other_data_sets_hear_nothing_of_auroc(make_run: MakeRun) -> None:
    report = written(make_run(seeds=(0,)))
    assert "AUROC" not in report
    assert "synthetic" not in report.partition("## How each framework does it")[0]


def test_figures_by_label(labelled) -> None:
    folder = labelled(classes=("a", "$b$", "never"), failed={("jax", 1): "x"})
    report = written(folder)
    assert "![ROC curves of each framework, label by label: " in report
    assert "![Training loss by step and validation AUROC by epoch: " in report
    drawn = {path.name for path in (folder.path / "figures").iterdir()}
    assert drawn >= {"digits-lenet5-roc.svg", "digits-lenet5-calibration.svg"}


def test_lost_and_undefined_scores_are_admitted(labelled) -> None:
    folder = labelled("lost", seeds=(0,))
    for path in (folder.path / "cells").glob("*.h5"):
        path.unlink()
    report = written(folder)
    assert "The predictions are missing from the folder, so there are no intervals." in report
    assert "nothing is at hand to test the difference" in report.splitlines()[2]

    folder = labelled("none", never=("a", "b", "never"))
    report = written(folder)
    assert rows(report, "Framework")["PyTorch"][0] == "undefined"
    assert rows(report, "Label")["a"][1:] == ["undefined (0 positives)"] * 2
    assert "| nan" not in report

    folder = labelled("diverged", seeds=(0,), frameworks=("torch",))
    cell = folder.manifest.cells[0]
    arrays, result = folder.read_arrays(cell), folder.read_result(cell)
    assert arrays is not None
    assert result is not None
    assert result.test is not None
    arrays.test_logits[:] = np.nan
    folder.write_arrays(cell, arrays)
    test = result.test.model_copy(update={"auroc": (None,) * 3, "correct": 0, "accuracy": 0.0})
    folder.write_result(result.model_copy(update={"test": test}))
    report = written(folder)
    assert rows(report, "Label")["a"][1] == "undefined (scores that are not numbers)"
    assert "| nan" not in report


def test_results_from_before_aurocs_were_recorded(make_run: MakeRun) -> None:
    folder = make_run(frameworks=TWO, classes=("healthy", "ill"))
    for result in folder.results():
        if (result.cell.framework, result.cell.seed) != ("torch", 0):
            assert result.test is not None
            test = result.test.model_copy(update={"auroc": ()})
            folder.write_result(result.model_copy(update={"test": test}))
    shown = rows(written(folder), "Label")["ill"]
    assert re.match(r"0\.\d{3}", shown[1])
    assert shown[2] == "—"


def test_terminal_and_progress_lines(labelled, make_run: MakeRun) -> None:
    folder = labelled(seeds=(0,))
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert "mean AUROC" in done.stdout
    assert "accuracy" not in done.stdout
    line = summary(folder.results()[0])
    assert re.search(r"mean test AUROC 0\.\d{4}, all labels right 0\.\d{4}, ", line)

    folder = make_run("two", frameworks=TWO, classes=("healthy", "ill"), seeds=(0,))
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert re.search(r"AUROC +accuracy", done.stdout)
    assert re.search(r"test AUROC 0\.\d{4}, accuracy 0\.\d{4}", summary(folder.results()[0]))


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(0.0123, 0.0011, 0.0239), ("+0.0123", "+0.0011 to +0.0239")),
        (Estimate(-0.00001, -0.00003, 0.00001), ("-0.000010", "-0.000030 to +0.000010")),
        (Estimate(0.0, 0.0, 0.0), ("0", "0 to 0")),
        (Estimate(0.01, np.nan, np.nan), ("+0.0100", "")),
    ],
)
def test_differences_show_what_their_interval_does(estimate, shown) -> None:
    assert difference_parts(estimate) == shown

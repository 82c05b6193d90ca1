"""AUROC label by label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.analysis.labels import is_synthetic, published, without_predicting
from harness.analysis.published import studies
from harness.analysis.summary import RunSummary
from harness.stats.statistics import Ranking

NIH = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
LABELLED = {
    "frameworks": ("torch", "jax"), "task": "multilabel", "classes": ("a", "b", "never"),
    "never": ("never",),
}  # fmt: skip


def only(folder):
    (each,) = RunSummary.read(folder).workloads
    return each


def test_labels_are_described(make_run):
    folder = make_run(**LABELLED, seeds=(3,))
    each = only(folder)
    arrays = folder.read_arrays(folder.manifest.cells[0])
    ranking = Ranking.of(arrays.test_logits, arrays.test_labels, arrays.test_groups)
    outcome = each.workload.finished[0]
    for index in range(2):
        label, answer = each.labels[index], arrays.test_labels[:, index]
        assert (label.positives, label.images) == (answer.sum(), 60)
        assert label.patients == len(set(arrays.test_groups[answer == 1]))
        assert label.undefined == ""
        found = outcome.aurocs[index]
        assert found.value == pytest.approx(roc_auc_score(answer, arrays.test_logits[:, index]))
        assert found == pytest.approx(tuple(ranking.label(index).interval()))
    assert (each.labels[2].undefined, each.labels[2].defined) == ("no positives", False)
    assert each.workload.patients == 30
    none = without_predicting(each.workload)
    assert none.images == (arrays.test_labels == 0).all(axis=1).mean()


def test_few_positives_have_no_interval(make_run):
    folder = make_run(**(LABELLED | {"frameworks": ("torch",)}), seeds=(0,))
    cell = folder.manifest.cells[0]
    arrays = folder.read_arrays(cell)
    arrays.test_labels[:, 1] = 0
    arrays.test_labels[:6, 1] = 1
    folder.write_arrays(cell, arrays)
    each = only(folder)
    assert (each.labels[1].support, each.labels[1].rare) == (3, True)
    assert not each.workload.finished[0].aurocs[1].has_interval


def test_two_classes_are_one_label_and_more_are_none(make_run):
    (label,) = only(make_run(classes=("healthy", "ill"), seeds=(0,))).labels
    assert label.name == "ill"
    assert only(make_run("ten", seeds=(0,))).labels == []


def test_lost_and_undefined_logits(make_run):
    folder = make_run("lost", **LABELLED, seeds=(0,))
    for path in (folder.path / "cells").glob("*.h5"):
        path.unlink()
    each = only(folder)
    assert {label.undefined for label in each.labels} == {"", "unknown"} or (
        {label.positives for label in each.labels} == {None}
    )
    assert not each.verdict.aurocs.tested
    folder = make_run("nan", **LABELLED, seeds=(0,))
    for cell, result in zip(folder.manifest.cells, folder.results(), strict=True):
        arrays = folder.read_arrays(cell)
        arrays.test_logits[:] = np.nan
        folder.write_arrays(cell, arrays)
        test = result.test.model_copy(update={"auroc": (None,) * 3})
        folder.write_result(result.model_copy(update={"test": test}))
    assert [label.undefined for label in only(folder).labels] == [
        "not a number", "not a number", "no positives",
    ]  # fmt: skip


def test_results_from_before_aurocs_were_recorded(make_run):
    folder = make_run(frameworks=("torch", "jax"), classes=("healthy", "ill"))
    for result in folder.results():
        if (result.cell.framework, result.cell.seed) != ("torch", 0):
            test = result.test.model_copy(update={"auroc": ()})
            folder.write_result(result.model_copy(update={"test": test}))
    torch, jax = only(folder).workload.finished
    assert len(torch.aurocs) == 1
    assert jax.aurocs == ()


def test_published_values_are_those_known(make_run):
    found = {study.name: np.mean(list(study.auroc.values())) for study in studies(NIH[::-1])}
    assert found == pytest.approx({"CheXNet": 0.8414, "reproduce-chexnet": 0.8383}, abs=5e-5)
    assert studies(NIH[:13]) == []
    assert studies([name.replace("_", " ").lower() for name in NIH])
    settings = LABELLED | {"classes": NIH, "never": ("Hernia",)}
    assert [study.name for study in published(only(make_run(**settings)).workload)] == list(found)
    synthetic = only(make_run("synthetic", **settings, license="synthetic, CC0")).workload
    assert published(synthetic) == []
    assert is_synthetic(synthetic.dataset, synthetic.entry)
    assert is_synthetic("xray-phantom", only(make_run("real")).workload.entry)

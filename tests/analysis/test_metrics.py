"""Metrics as plug-ins: an outside one is shown, written, stored and gated like any other."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score

from harness import plugins
from harness.analysis.baseline import baselines_of, merge, read_baselines, write_baselines
from harness.analysis.gate import check
from harness.analysis.metrics import over_seeds
from harness.analysis.summary import RunSummary
from harness.metrics import Metric
from harness.report.gates import line
from harness.report.markdown import pages, render
from harness.stats.statistics import Estimate

NO_INTERVAL = math.nan, math.nan


def confidence(logits, labels, groups):
    """Mean largest logit: nonsense, but of the logits alone."""
    return Estimate(float(logits.max(axis=1).mean()), *NO_INTERVAL)


@pytest.fixture
def outside(monkeypatch):
    metric = Metric(
        name="confidence", title="mean confidence", compute=confidence, tolerance=0.01, order=70
    )
    monkeypatch.setitem(plugins.metrics(), metric.name, metric)
    return metric


def only(folder):
    (each,) = RunSummary.read(folder).workloads
    return each


def test_built_in_metrics_come_from_entry_points():
    assert {"accuracy", "auroc", "loss", "macro_f1"} <= set(plugins.metrics())


def test_values_are_scikit_learns(make_run):
    folder = make_run(frameworks=("torch",), seeds=(0,), classes=("healthy", "ill"))
    each = only(folder)
    arrays = folder.read_arrays(folder.manifest.cells[0])
    labels, logits = arrays.test_labels, arrays.test_logits.astype(float)
    score = logits[:, 1] - logits[:, 0]
    found = {m.name: over_seeds(each.workload.finished[0], m).value for m in each.metrics}
    probability = 1 / (1 + np.exp(-score))
    assert found == pytest.approx(
        {
            "accuracy": folder.results()[0].test.accuracy,
            "auroc": folder.results()[0].test.auroc[0],
            "loss": folder.results()[0].test.loss,
            "macro_f1": f1_score(labels, logits.argmax(axis=1), average="macro"),
            "average_precision": average_precision_score(labels, score),
            "brier": brier_score_loss(labels, probability),
        }
    )


def test_what_is_not_defined_is_left_out(make_run):
    each = only(make_run(seeds=(0,)))  # ten classes
    assert [metric.name for metric in each.metrics] == ["accuracy", "loss", "macro_f1"]
    assert [metric.name for metric in each.headline_metrics] == ["accuracy"]


def test_an_outside_metric_is_shown_and_written(make_run, outside):
    folder = make_run(frameworks=("torch", "jax"), wrong={"torch": 2, "jax": 20})
    each = only(folder)
    assert outside in each.headline_metrics
    assert over_seeds(each.workload.finished[0], outside).value == 1
    assert "Mean confidence" in pages(RunSummary.read(folder))["report.md"]
    render(folder.path)
    frame = pd.read_csv(folder.path / "results.csv")
    assert frame["test_confidence"].tolist() == [1.0] * 4
    assert frame["test_macro_f1"].between(0.5, 1).all()


def test_an_outside_metric_is_stored_and_gated(make_run, outside, monkeypatch, tmp_path):
    folder = make_run(frameworks=("torch",))
    stored = baselines_of(folder)
    assert stored[0].metrics["confidence"].values == {0: 1.0, 1: 1.0}
    path = tmp_path / "baselines.json"
    write_baselines(path, stored)
    assert read_baselines(path) == stored
    assert merge([*stored, *stored])[0].metrics == stored[0].metrics

    (fine,) = check(folder, stored, speed=False)
    assert [each.metric for each in fine.metrics] == ["accuracy", "confidence"]
    assert fine.status == "passed"
    off = replace(outside, compute=lambda *_: Estimate(1.1, *NO_INTERVAL))
    monkeypatch.setitem(plugins.metrics(), "confidence", off)
    (bad,) = check(folder, stored, speed=False)
    assert [each.status for each in bad.metrics] == ["passed", "failed"]
    assert "mean confidence 1.1000 is above the expected 0.9900 to 1.0100" in line(bad)

    ungated = replace(outside, tolerance=None)
    monkeypatch.setitem(plugins.metrics(), "confidence", ungated)
    assert not baselines_of(folder)[0].metrics


def test_baselines_from_before_metrics_are_read(make_run, tmp_path):
    path = tmp_path / "baselines.json"
    write_baselines(path, baselines_of(make_run(frameworks=("torch",))))
    rows = json.loads(path.read_text())
    for row in rows:
        del row["metrics"]
    path.write_text(json.dumps(rows))
    (stored,) = read_baselines(path)
    assert stored.metrics == {}


def test_the_metric_of_the_documentation_works():
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    names: dict[str, object] = {}
    exec(found[1], names)
    metric = names["TOP3"]
    assert isinstance(metric, Metric)
    estimate = metric.compute(np.eye(4), np.array([0, 1, 2, 0]), None)
    assert estimate is not None
    assert estimate.value == 0.75

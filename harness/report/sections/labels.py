"""AUROC label by label, beside what others published; ROC and reliability curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import curves
from harness.analysis.labels import Label, without_predicting
from harness.analysis.metrics import per_label
from harness.analysis.published import Study
from harness.analysis.run import Outcome
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.plugins import metrics
from harness.report import charts
from harness.report.section import Drawing, drawing, folded, for_workloads, paragraphs
from harness.report.text import (
    NOTHING,
    UNDEFINED,
    auroc_interval,
    escape,
    interval_name,
    join,
    percent,
    plural,
    table,
)
from harness.stats.statistics import MINIMUM_POSITIVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REASONS = {
    "no positives": f"{UNDEFINED} (0 positives)",
    "no negatives": f"{UNDEFINED} (0 negatives)",
    "not a number": f"{UNDEFINED} (logits that are not numbers)",
    "unknown": UNDEFINED,
    "": UNDEFINED,
}
FURTHER = ("average_precision", "brier")
"""Metrics that are shown label by label besides AUROC."""


def body(each: WorkloadSummary) -> str:
    predicted = any(curves.ranked(outcome) for outcome in each.workload.finished)
    beside = paragraphs(
        "The published values are of other trainings on other images; they show what has been "
        "reached on this task, and are no part of this comparison. What differs:",
        what_differs(each),
    )
    precision = folded("Average precision and Brier score, label by label", further(each))
    return paragraphs(
        by_label(each),
        how_made(each),
        all_correct(each),
        _balanced(each),
        beside if each.published else "",
        *(figure.markdown for figure in figures(each)),
        precision if predicted else "",
    )


def by_label(each: WorkloadSummary) -> str:
    """One row a label, one column a variant, then what others published; last their means."""
    finished = each.workload.finished
    header = [
        "Label",
        "Positives in the test split",
        *(f"{escape(outcome.title)} ({interval_name()})" for outcome in finished),
        *(f"{escape(study.name)}, published" for study in each.published),
    ]
    rows = [
        [
            escape(label.name),
            _positives(label),
            *(_auroc(outcome, label) for outcome in finished),
            *(f"{study.of(label.name):.3f}" for study in each.published),
        ]
        for label in each.labels
    ]
    known = [label.name for label in each.labels if label.defined]
    if len(each.labels) > 1:
        means = [auroc_interval(outcome.mean_auroc) for outcome in finished]
        published = [_published_mean(study, known) for study in each.published]
        rows.append([f"**mean of {len(known)}**", "", *means, *published])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def _auroc(outcome: Outcome, label: Label) -> str:
    if not outcome.aurocs:
        return NOTHING
    found = outcome.aurocs[label.index]
    return REASONS[label.undefined] if math.isnan(found.value) else auroc_interval(found)


def _positives(label: Label) -> str:
    if label.positives is None or label.images is None:
        return NOTHING
    shown = f"{label.positives:,} of {label.images:,}"
    return shown if label.patients is None else f"{shown} ({plural(label.patients, 'patient')})"


def _published_mean(study: Study, labels: list[str]) -> str:
    return f"{np.mean([study.of(label) for label in labels]):.3f}" if labels else NOTHING


def how_made(each: WorkloadSummary) -> str:
    """What the intervals are over, and what is left out of the mean."""
    workload = each.workload
    if workload.tested is None:
        return "The predictions are missing from the folder, so there are no intervals."
    if workload.patients is None:
        unit = "images, because the data set does not say which images are of one patient"
        few = "images"
    else:
        images = plural(len(workload.tested.test_labels), "test image")
        unit, few = f"the {plural(workload.patients, 'patient')} of the {images}", "patients"
    seeds = len(workload.seeds)
    lead = f"Each value is the mean over {seeds} seeds. " if seeds > 1 else ""
    sentences = [f"{lead}The intervals are DeLong's, on the logit scale, over {unit}."]
    known = [label for label in each.labels if label.defined]
    rare = [label for label in known if label.rare]
    missing = [escape(label.name) for label in each.labels if not label.defined]
    if rare:
        sentences.append(
            f"A label that fewer than {MINIMUM_POSITIVES} {few} have, or lack, carries none."
        )
    if missing and known:
        sentences.append(
            f"The mean is over the {len(known)} labels that have an AUROC: it leaves out "
            f"{join(missing)}."
        )
    if rare and len(each.labels) > 1:
        sentences.append(
            f"**The mean rests on little**: {len(rare)} of its {plural(len(known), 'label')} "
            f"{'is' if len(rare) == 1 else 'are'} that rare."
        )
    return " ".join(sentences)


def all_correct(each: WorkloadSummary) -> str:
    """Why the share of images with all labels correct says little."""
    if each.workload.entry.task != "multilabel":
        return ""
    lead = (
        "**All labels correct** is the share of test images whose every label is predicted "
        "correctly (subset accuracy), a label being predicted where its logit is above 0. It says "
        "little here"
    )
    none = without_predicting(each.workload)
    if none is None:
        return f"{lead}: with rare labels, never predicting any looks good."
    return (
        f"{lead}: never predicting any label would get {percent(none.images, 1)} of the images and "
        f"{percent(none.labels, 1)} of the single labels right."
    )


def _balanced(each: WorkloadSummary) -> str:
    if each.run.manifest.experiment.training.positive_weights != "balanced":
        return ""
    return (
        "In training positives counted more than negatives, so that both weighed the same: "
        "probabilities are higher than the labels are frequent. That changes reliability, Brier "
        "score and F1, not AUROC."
    )


def what_differs(each: WorkloadSummary) -> str:
    """One row a fact, one column for the run and each study."""
    workload, beside = each.workload, each.published
    entry = workload.entry
    _, height, width = entry.image_shape
    counts = f"{entry.train:,} training, {entry.val:,} validation, {entry.test:,} test"
    total = entry.train + entry.val + entry.test
    title = escape(workload.card.title if workload.card else workload.model)
    start = (
        "from scratch, weights drawn at random"
        if each.run.manifest.experiment.training.initial_weights is None
        else "from weights of a file (see the settings)"
    )
    rows = [
        ["network", f"{title}, all of it trained {start}", *(escape(s.model) for s in beside)],
        ["data", escape(workload.dataset), *(escape(s.data) for s in beside)],
        ["image", f"{height} x {width} pixels", *(escape(s.image) for s in beside)],
        ["images", f"{total:,} in all: {counts}", *(escape(s.images) for s in beside)],
        ["split", escape(entry.split), *(escape(s.split) for s in beside)],
        ["source", "this run", *(escape(s.source) for s in beside)],
    ]
    return table(["Fact", "This run", *(escape(study.name) for study in beside)], rows)


def further(each: WorkloadSummary) -> str:
    """Average precision and Brier score of every label."""
    finished = each.workload.finished
    chosen = [metrics()[name] for name in FURTHER if name in metrics()]
    header = ["Label", "Share of positives", "Brier of always predicting the share"]
    header += [f"{escape(o.title)}, {metric.title}" for metric in chosen for o in finished]
    rows = []
    for label in each.labels:
        share = label.share
        row = [escape(label.name), percent(share, 1)]
        row.append(NOTHING if math.isnan(share) else f"{share * (1 - share):.4f}")
        for metric in chosen:
            values = [per_label(outcome, metric, label.index) for outcome in finished]
            row += [NOTHING if math.isnan(value) else f"{value:.4f}" for value in values]
        rows.append(row)
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def figures(each: WorkloadSummary) -> list[Drawing]:
    workload = each.workload
    if not any(curves.ranked(outcome) for outcome in workload.finished):
        return []
    words = "label by label" if len(each.labels) > 1 else "one plot"
    return [
        drawing(
            workload,
            "roc",
            f"ROC curves of each variant, {words}",
            lambda: roc(each),
            lambda: charts.roc(workload.finished, each.labels),
        ),
        drawing(
            workload,
            "calibration",
            "Reliability of each variant's probabilities",
            lambda: reliability(each),
            lambda: charts.reliability(workload.finished),
        ),
    ]


def roc(each: WorkloadSummary) -> Figure:
    """One small plot a label, one line a variant."""
    from harness.report import plotting

    outcomes = each.workload.finished
    lines = math.ceil(len(each.labels) / 4)
    columns = math.ceil(len(each.labels) / lines)
    width = plotting.WIDTH if columns > 1 else plotting.WIDTH / 2
    figure = plotting.new_figure(1 + lines * width / columns, width)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(each.labels) :]:
        axes.set_visible(False)
    for axes, label in zip(panels.flat, each.labels, strict=False):
        axes.set_title(plotting.label(label.name), fontsize=9)
        _diagonal(axes)
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
        found = [curves.roc(outcome, label.index) for outcome in outcomes]
        for index, rates in enumerate(found):
            if rates is not None:
                plotting.line(axes, *rates, outcomes, index, scale=0.8)
        if not any(found):
            axes.text(0.5, 0.25, UNDEFINED, ha="center", fontsize=8, color="#555555")
    figure.supxlabel("false positive rate (1 - specificity)", fontsize=10)
    figure.supylabel("true positive rate (sensitivity)", fontsize=10)
    plotting.legend(figure, outcomes, columns=2 if columns > 1 else 1)
    return figure


def reliability(each: WorkloadSummary) -> Figure:
    """Observed frequency by predicted probability, all labels and seeds pooled."""
    from harness.report import plotting

    outcomes = each.workload.finished
    figure = plotting.new_figure(0.8 + plotting.WIDTH / 2, plotting.WIDTH / 2)
    axes = figure.subplots()
    _diagonal(axes)
    reach = 0.0
    for index, outcome in enumerate(outcomes):
        found = curves.reliability(outcome)
        if found is not None:
            reach = max(reach, *(float(part.max()) for part in found))
            plotting.line(axes, *found, outcomes, index, scale=0.7, marker=True)
    reach = min(1.0, 1.08 * reach) or 1.0
    axes.set_xlim(0, reach)
    axes.set_ylim(0, reach)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed frequency")
    plotting.legend(figure, outcomes, columns=1)
    return figure


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    axes.set_aspect("equal")


def terms(summary: RunSummary) -> list[str]:
    return [
        "**AUROC**: the area under the ROC curve, which is how often a positive image gets a "
        "higher logit than a negative one; 0.5 is guessing. Of several labels the mean is over "
        "those that have one: a label with no positives, or nothing but positives, in the test "
        f"split has none, and is never counted as 0.5. Its interval is {interval_name()} by "
        "DeLong's variance, on the logit scale with Student's quantile, where the images of one "
        "patient count as one; of single images where the data set names no patients. With several "
        "seeds the values are means over them on the same images. A label that fewer than "
        f"{MINIMUM_POSITIVES} patients have, or lack, is shown without one.",
        "**Average precision**: the area under the steps of precision against recall; guessing "
        "gets the share of positives. **Brier score**: the mean squared difference between "
        "probability and label, less is better.",
    ]


SECTION = for_workloads(
    title="AUROC, label by label",
    applies=lambda each: bool(each.labels),
    body=body,
    figures=figures,
    terms=terms,
)

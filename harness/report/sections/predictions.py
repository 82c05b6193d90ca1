"""Confusion matrices and F1: what is the same in several variants is shown once."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.predictions import VariantPredictions, alike
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.section import Drawing, drawing, for_workloads, paragraphs
from harness.report.text import (
    NOTHING,
    UNDEFINED,
    escape,
    interval_name,
    join,
    percent_interval,
    percent_places,
    plural,
    table,
)
from harness.stats.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20
"""Larger confusion matrices cannot be read in a figure."""
Alike = list[list[VariantPredictions]]


def distinct(each: WorkloadSummary) -> Alike:
    """Variants in groups that predict the same for every image of every seed."""
    return alike(each.predictions, VariantPredictions.same_as)


def names(group: list[VariantPredictions]) -> str:
    return join([each.outcome.title for each in group])


def body(each: WorkloadSummary) -> str:
    entry = each.workload.entry
    groups = distinct(each)
    if entry.task == "multilabel":
        shown = of_labels(each, groups)
    else:
        shown = two_classes(each, groups) if len(entry.classes) == 2 else classes(each, groups)
    pictures = [figure.markdown for figure in figures(each)]
    return paragraphs(_same(groups), shown, notes(each), *pictures)


def _same(groups: Alike) -> str:
    shared = [f"{escape(names(group))} predict the same for every test image of every seed."
              for group in groups if len(group) > 1]  # fmt: skip
    return " ".join(shared)


def _titles(groups: Alike) -> list[str]:
    """One name for each row: of a group that predicts the same, the first and how many more."""
    return [
        escape(group[0].outcome.title) + (f" and {len(group) - 1} more" if len(group) > 1 else "")
        for group in groups
    ]


def two_classes(each: WorkloadSummary, groups: Alike) -> str:
    """F1 of the second class, both kinds of being correct, and the counts."""
    first, second = map(escape, each.workload.entry.classes)
    header = [
        "Variant",
        f"F1 of {second}",
        f"Sensitivity ({interval_name()})",
        f"Specificity ({interval_name()})",
        f"{second} predicted as {second}",
        f"{second} predicted as {first}",
        f"{first} predicted as {second}",
        f"{first} predicted as {first}",
    ]
    rows = []
    for title, (own, *_) in zip(_titles(groups), groups, strict=True):
        (negative, false), (missed, found) = own.confusion
        counts = [f"{count:,}" for count in (found, missed, false, negative)]
        rows.append([title, _number(own.f1(1)), _share(own, 1), _share(own, 0), *counts])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def classes(each: WorkloadSummary, groups: Alike) -> str:
    """Macro F1, the class of the lowest F1, and the most frequent error."""
    found = each.workload.entry.classes
    rows = []
    for title, (own, *_) in zip(_titles(groups), groups, strict=True):
        lowest, worst = own.lowest_f1, own.most_confused
        rows.append(
            [
                title,
                _number(own.macro_f1),
                NOTHING if lowest is None else f"{escape(found[lowest[0]])}: {lowest[1]:.3f}",
                "no errors"
                if worst is None
                else f"{escape(found[worst[0]])} predicted as {escape(found[worst[1]])}: "
                f"{worst[2]:,}",
            ]
        )
    header = ["Variant", "Macro F1", "Lowest F1", "Most frequent error, images"]
    return table(header, rows, align="lrrr")


def of_labels(each: WorkloadSummary, groups: Alike) -> str:
    """One row a label: how often each variant predicts it, and its F1; last all labels."""
    header = ["Label", "Positives"]
    for title in _titles(groups):
        header += [f"{title}, predicted", "F1"]
    owners = [group[0] for group in groups]
    rows = []
    for index, label in enumerate(each.workload.entry.classes):
        row = [escape(label), f"{owners[0].positives(index):,}"]
        for own in owners:
            row += [f"{own.predicted_times(index):,.4g}", _number(own.f1(index))]
        rows.append(row)
    if len(rows) > 1:
        known = sum(owners[0].positives(index) > 0 for index in range(len(rows)))
        micro, macro = ["**micro, all labels**", ""], [f"**macro, mean of {known}**", ""]
        for own in owners:
            micro += ["", _number(own.micro_f1)]
            macro += ["", _number(own.macro_f1)]
        rows += [micro, macro]
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def _number(value: float | None) -> str:
    return UNDEFINED if value is None or math.isnan(value) else f"{value:.3f}"


def _share(own: VariantPredictions, index: int) -> str:
    found: Estimate | None = own.recall(index)
    if found is None:
        return UNDEFINED
    return percent_interval(found, percent_places(own.positives(index)))


def notes(each: WorkloadSummary) -> str:
    """What is counted, and what is not."""
    entry, seeds = each.workload.entry, len(each.workload.seeds)
    several = entry.task == "multilabel"
    found = ["No threshold was tuned."]
    if several:
        found.append(
            "A label that is never predicted has an F1 of 0, one without positives in the test "
            "split has none and is left out of the macro mean; the micro value counts how often it "
            "is predicted in vain."
        )
    if seeds > 1:
        counts = "" if several else "; counts are of all seeds together"
        found.append(f"F1 and rates are means over {seeds} seeds{counts}.")
    first = each.predictions[0]
    absent = [escape(n) for index, n in enumerate(entry.classes) if not first.positives(index)]
    if absent and not several:
        found.append(
            f"The test split has no image of {join(absent)}: there F1 is not defined, and the "
            "macro mean leaves it out."
        )
    found += [
        f"{escape(own.outcome.title)} gave no prediction {plural(own.without, 'time')}, because a "
        "logit was not a number: "
        + ("such a label counts as not predicted." if several else "counted as wrong in F1.")
        for own in each.predictions
        if own.without
    ]
    return " ".join(found)


def figures(each: WorkloadSummary) -> list[Drawing]:
    entry = each.workload.entry
    if entry.task == "multilabel" or not 2 < len(entry.classes) <= MOST_CLASSES:
        return []
    alt = "Confusion matrix of each variant: true class by row, prediction by column"
    return [drawing(each.workload, "confusion", alt, lambda: confusion(each))]


def confusion(each: WorkloadSummary) -> Figure:
    """One matrix for variants that predict the same: colour for the share of a class, numbers for
    the images."""
    from harness.report import plotting

    groups = distinct(each)
    shown = [plotting.label(name) for name in each.workload.entry.classes]
    columns = min(3, len(groups))
    lines = math.ceil(len(groups) / columns)
    side = 0.8 + min(4.0, max(2.2, 0.24 * len(shown)))
    figure = plotting.new_figure(0.8 + side * lines, max(4.2, side * columns))
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(groups) :]:
        axes.set_visible(False)
    rotation = 0 if max(map(len, shown)) <= 3 else 90
    for axes, group in zip(panels.flat, groups, strict=False):
        counts = group[0].confusion
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        whole = len(groups) == 1 and len(group) > 1
        title = f"all {len(group)} variants" if whole else names(group)
        axes.set_title("\n".join(textwrap.wrap(title, 32)), fontsize=8)
        axes.set_xticks(range(len(shown)), shown, fontsize=7, rotation=rotation)
        axes.set_yticks(range(len(shown)), shown, fontsize=7)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for true, given in np.argwhere(counts):
            axes.text(
                given, true, f"{counts[true, given]}", ha="center", va="center", fontsize=6,
                color="white" if share[true, given] > 0.5 else "#222222",
            )  # fmt: skip
    figure.supxlabel("predicted class", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    return figure


def terms(summary: RunSummary) -> list[str]:
    return [
        "**F1**: the harmonic mean of precision (how many of the predictions are correct) and "
        "sensitivity (how many of the positives are found). It depends on the threshold, which "
        "nobody tuned here. **Macro**: the mean over classes or labels, rare ones counting like "
        "frequent ones. **Micro**: all labels counted together.",
        "**Sensitivity**, **specificity**: the shares of the second and of the first of two "
        "classes that are predicted correctly; their intervals are exact binomial ones "
        "(Clopper-Pearson).",
    ]


SECTION = for_workloads(
    title="Predictions: confusion and F1",
    applies=lambda each: bool(each.predictions),
    body=body,
    figures=figures,
    terms=terms,
)

"""The tables and sentences on AUROC, label by label and pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from harness.analysis.comparison import Group, Outcome, Trained
from harness.config import Training
from harness.report.published import Study, studies
from harness.report.text import (
    NOTHING,
    auroc_interval,
    difference_parts,
    escape,
    join,
    percent,
    plural,
    table,
)
from harness.results.folder import DatasetEntry
from harness.stats.statistics import CONFIDENCE, MINIMUM_POSITIVES, Estimate, group_support

INTERVAL = f"{100 * CONFIDENCE:.0f} %"
UNDEFINED = "undefined"


def name_of(group: Group) -> str:
    """What the one figure over all labels is called."""
    return "mean AUROC" if len(group.labels) > 1 else "AUROC"


def is_synthetic(name: str, entry: DatasetEntry) -> bool:
    """Whether a data set says of itself that its pictures were computed."""
    told = f"{entry.source} {entry.license}".casefold()
    return name.startswith("xray-phantom") or "synthetic" in told


def published(group: Group) -> list[Study]:
    """Studies to stand beside the run; none beside pictures that are synthetic."""
    if not group.labels or is_synthetic(group.dataset, group.entry):
        return []
    return studies(group.labels)


def by_label(group: Group) -> str:
    """One row a label, one column a framework, then what others published; last their means."""
    beside = published(group)
    header = [
        "Label",
        "Positives in the test split",
        *(f"{escape(outcome.title)} ({INTERVAL})" for outcome in group.finished),
        *(f"{escape(study.name)}, published" for study in beside),
    ]
    rows = []
    for place, label in enumerate(group.labels):
        rows.append(
            [
                escape(label),
                _positives(group, place),
                *(
                    _auroc(outcome.aurocs[place], reason(group, place))
                    if outcome.aurocs
                    else NOTHING
                    for outcome in group.finished
                ),
                *(f"{study.of(label):.3f}" for study in beside),
            ]
        )
    if len(group.labels) > 1:
        known = _defined(group)
        rows.append(
            [
                f"**mean of {len(known)}**",
                "",
                *(_auroc(outcome.mean_auroc, UNDEFINED) for outcome in group.finished),
                *(_published_mean(study, [group.labels[p] for p in known]) for study in beside),
            ]
        )
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def how_made(group: Group) -> str:
    """Sentences below that table: what the intervals are over, and what is left out."""
    if group.tested is None:
        return "The predictions are missing from the folder, so there are no intervals."
    if group.patients is None:
        unit = "images, because the data set does not say which images are of one patient"
        few = "images"
    else:
        examples = len(group.tested.test_labels)
        unit = f"the {plural(group.patients, 'patient')} of the {plural(examples, 'test image')}"
        few = "patients"
    seeds = (
        f"Each value is the mean over {len(group.seeds)} seeds. " if len(group.seeds) > 1 else ""
    )
    sentences = [f"{seeds}The intervals are DeLong's, on the logit scale, over {unit}."]
    known = _defined(group)
    rare = [p for p in known if _support(group, p) < MINIMUM_POSITIVES]
    if rare:
        sentences.append(
            f"A label that fewer than {MINIMUM_POSITIVES} {few} have, or lack, carries none."
        )
    missing = [label for p, label in enumerate(group.labels) if p not in known]
    if missing and known:
        sentences.append(
            f"The mean is over the {len(known)} labels that have an AUROC: it leaves out "
            f"{join([escape(label) for label in missing])}."
        )
    if rare and len(group.labels) > 1:
        sentences.append(
            f"**The mean rests on little**: {len(rare)} of its {plural(len(known), 'label')} "
            f"{'is' if len(rare) == 1 else 'are'} that rare."
        )
    return " ".join(sentences)


def what_differs(group: Group, training: Training) -> str:
    """One row a fact, one column for the run and each study."""
    beside = published(group)
    entry = group.entry
    _, height, width = entry.image_shape
    counts = f"{entry.train:,} training, {entry.val:,} validation, {entry.test:,} test"
    total = entry.train + entry.val + entry.test
    title = escape(group.card.title if group.card else group.model)
    start = (
        "from scratch, weights drawn at random"
        if training.initial_weights is None
        else "from weights of a file (see the settings)"
    )
    rows = [
        ["network", f"{title}, all of it trained {start}"]
        + [escape(study.model) for study in beside],
        ["data", escape(group.dataset)] + [escape(study.data) for study in beside],
        ["image", f"{height} x {width} pixels"] + [escape(study.image) for study in beside],
        ["images", f"{total:,} in all: {counts}"] + [escape(study.images) for study in beside],
        ["split", escape(entry.split)] + [escape(study.split) for study in beside],
        ["source", "this run"] + [escape(study.source) for study in beside],
    ]
    return table(["", "This run", *(escape(study.name) for study in beside)], rows)


def precision(group: Group) -> str:
    """Average precision and Brier score of every label."""
    header = ["Label", "Share of positives", *_each(group, "average precision")]
    header += ["Brier of always answering the share", *_each(group, "Brier")]
    rows = []
    for place, label in enumerate(group.labels):
        share = _share(group, place)
        rows.append(
            [
                escape(label),
                percent(share, 1),
                *(_over_seeds(outcome, place, _average_precision) for outcome in group.finished),
                NOTHING if math.isnan(share) else f"{share * (1 - share):.4f}",
                *(_over_seeds(outcome, place, _brier, 4) for outcome in group.finished),
            ]
        )
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def pairs(group: Group) -> str:
    """One row a pair of frameworks and seed."""
    name = name_of(group)
    header = [
        "Frameworks",
        "Seed",
        f"First's {name}",
        f"Second's {name}",
        f"Difference ({INTERVAL}, all together)",
        "Says",
    ]
    rows = []
    for pair in group.pairs:
        for test in pair.rank_tests:
            found = test.difference(group.rank_test_count)
            value, interval = difference_parts(found)
            rows.append(
                [
                    f"{escape(pair.first.title)}, {escape(pair.second.title)}",
                    str(test.seed),
                    f"{test.first:.4f}",
                    f"{test.second:.4f}",
                    f"{value} ({interval})" if interval else value,
                    "**a difference**" if apart(found) else "no difference shown",
                ]
            )
    return table(header, rows, align="lrrrrl")


def apart(difference: Estimate) -> bool:
    """Whether an interval of a difference leaves out 0."""
    return difference.has_interval and not difference.low <= 0 <= difference.high


def all_right_note(group: Group) -> str:
    """Why the share of images with all labels right says little, in this test split's numbers."""
    lead = (
        "**All labels right** is the share of test images whose every label is answered rightly "
        "(subset accuracy), a label being given where its logit is above 0. It says little here"
    )
    if group.tested is None:
        return f"{lead}: rare labels make never giving any label look good."
    labels = group.tested.test_labels
    none = percent(float((labels == 0).all(axis=1).mean()), 1)
    single = percent(float((labels == 0).mean()), 1)
    return (
        f"{lead}: never giving any label would get {none} of the images and {single} of the "
        "single labels right."
    )


def reason(group: Group, place: int) -> str:
    """Why the AUROC of a label is not defined, if it is not."""
    if group.tested is not None:
        label = _column(group, place)
        if not label.any():
            return f"{UNDEFINED} (0 positives)"
        if label.all():
            return f"{UNDEFINED} (0 negatives)"
        return f"{UNDEFINED} (scores that are not numbers)"
    return UNDEFINED


def _defined(group: Group) -> list[int]:
    """Labels that have an AUROC in at least one framework."""
    return [
        place
        for place in range(len(group.labels))
        if any(o.aurocs and not math.isnan(o.aurocs[place].value) for o in group.finished)
    ]


def _auroc(estimate: Estimate, undefined: str) -> str:
    return undefined if math.isnan(estimate.value) else auroc_interval(estimate)


def _published_mean(study: Study, labels: list[str]) -> str:
    return f"{np.mean([study.of(label) for label in labels]):.3f}" if labels else NOTHING


def _each(group: Group, what: str) -> list[str]:
    return [f"{escape(outcome.title)}, {what}" for outcome in group.finished]


def _column(group: Group, place: int) -> NDArray[np.uint8]:
    """Labels 0 and 1 (examples,) of the test split."""
    assert group.tested is not None
    labels = group.tested.test_labels
    return labels if labels.ndim == 1 else labels[:, place]


def _support(group: Group, place: int) -> int:
    assert group.tested is not None
    return int(group_support(_column(group, place)[:, None], group.tested.test_groups)[0])


def _share(group: Group, place: int) -> float:
    return math.nan if group.tested is None else float(_column(group, place).mean())


def _positives(group: Group, place: int) -> str:
    if group.tested is None:
        return NOTHING
    positive = _column(group, place) == 1
    shown = f"{positive.sum():,} of {positive.size:,}"
    if group.tested.test_groups is not None and positive.any():
        shown += f" ({plural(len(np.unique(group.tested.test_groups[positive])), 'patient')})"
    return shown


def _over_seeds(
    outcome: Outcome, place: int, measure: Callable[[Trained, int], float], places: int = 3
) -> str:
    values = [measure(cell, place) for cell in outcome.trained.values()]
    mean = float(np.mean(values))
    return NOTHING if math.isnan(mean) else f"{mean:.{places}f}"


def _average_precision(cell: Trained, place: int) -> float:
    from sklearn.metrics import average_precision_score  # takes a second to import

    if cell.ranked is None:
        return math.nan
    score, label = (values[:, place] for values in cell.ranked)
    if not label.any() or np.isnan(score).any():
        return math.nan
    return float(average_precision_score(label, score))


def _brier(cell: Trained, place: int) -> float:
    """Mean squared difference between probability and label (Brier 1950)."""
    if cell.ranked is None:
        return math.nan
    score, label = (values[:, place] for values in cell.ranked)
    return float(np.mean((expit(score) - label) ** 2))

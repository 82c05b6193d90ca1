"""The tables and sentences on the answers themselves: confusion matrix, F1 and their kin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.analysis.comparison import Group, Outcome, Trained
from harness.report.text import (
    NOTHING,
    escape,
    join,
    percent_interval,
    percent_places,
    plural,
    table,
)
from harness.stats import metrics, statistics
from harness.stats.statistics import CONFIDENCE

INTERVAL = f"{100 * CONFIDENCE:.0f} %"


def answering(group: Group) -> tuple[Outcome, ...]:
    """Frameworks that kept what they answered."""
    return tuple(outcome for outcome in group.finished if kept(outcome))


def kept(outcome: Outcome) -> list[Trained]:
    """Cells of every seed that kept its predictions."""
    return [cell for cell in outcome.trained.values() if cell.arrays is not None]


def confusion(group: Group, outcome: Outcome) -> NDArray[np.int64]:
    """Images by class (rows) and answer (columns), all seeds together."""
    classes = len(group.entry.classes)
    found = np.zeros((classes, classes), np.int64)
    for cell in kept(outcome):
        assert cell.arrays is not None
        assert cell.predictions is not None
        found += metrics.confusion(cell.predictions, cell.arrays.test_labels, classes)
    return found


def two_classes(group: Group) -> str:
    """One row a framework: F1 of the second class, both kinds of being right, and the counts."""
    first, second = map(escape, group.entry.classes)
    header = [
        "Framework",
        f"F1 of {second}",
        f"Sensitivity ({INTERVAL})",
        f"Specificity ({INTERVAL})",
        f"{second}, answered {second}",
        f"{second}, answered {first}",
        f"{first}, answered {second}",
        f"{first}, answered {first}",
    ]
    rows = []
    for outcome in answering(group):
        (none, false), (missed, found) = confusion(group, outcome)
        rows.append(
            [
                escape(outcome.title),
                _mean(group, outcome, lambda scores: scores[1].f1),
                _found(group, outcome, 1),
                _found(group, outcome, 0),
                *(f"{count:,}" for count in (found, missed, false, none)),
            ]
        )
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def several_classes(group: Group) -> str:
    """One row a framework: macro F1, and the class that is answered worst."""
    rows = []
    for outcome in answering(group):
        confused = confusion(group, outcome)
        f1 = [_f1(group, outcome, place) for place in range(len(group.entry.classes))]
        known = [place for place, value in enumerate(f1) if not np.isnan(value)]
        worst = min(known, key=lambda place: f1[place]) if known else None
        np.fill_diagonal(confused, 0)
        true, given = np.unravel_index(confused.argmax(), confused.shape)
        names = group.entry.classes
        rows.append(
            [
                escape(outcome.title),
                _mean(group, outcome, metrics.macro_f1),
                NOTHING if worst is None else f"{escape(names[worst])}: {f1[worst]:.3f}",
                f"{escape(names[true])} taken for {escape(names[given])}: {confused.max():,}"
                if confused.any()
                else "no errors",
            ]
        )
    return table(
        ["Framework", "Macro F1", "Lowest F1", "Most frequent error, images"], rows, align="lrrr"
    )


def labels(group: Group) -> str:
    """One row a label: how often each framework gives it, and its F1; last all labels."""
    shown = answering(group)
    header = ["Label", "Positives"]
    for outcome in shown:
        header += [f"{escape(outcome.title)}, given", "F1"]
    rows = []
    for place, label in enumerate(group.entry.classes):
        scores = [_scores(group, cell)[place] for cell in kept(shown[0])]
        row = [escape(label), f"{scores[0].positives:,}"]
        for outcome in shown:
            given = np.mean([_scores(group, cell)[place].given for cell in kept(outcome)])
            f1 = _f1(group, outcome, place)
            row += [f"{given:,.4g}", "undefined" if np.isnan(f1) else f"{f1:.3f}"]
        rows.append(row)
    known = sum(_scores(group, kept(shown[0])[0])[p].positives > 0 for p in range(len(rows)))
    micro, macro = ["**micro, all labels**", ""], [f"**macro, mean of {known}**", ""]
    for outcome in shown:
        micro += ["", _number([_micro(cell) for cell in kept(outcome)])]
        macro += ["", _mean(group, outcome, metrics.macro_f1)]
    if len(group.entry.classes) > 1:
        rows += [micro, macro]
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def notes(group: Group) -> str:
    """Sentences below these tables: what is counted, and what is not."""
    found = []
    seeds = len(group.seeds)
    several = group.entry.task == "multilabel"
    if several:
        found.append(
            "A label is given where its logit is above 0, a probability of one half; no threshold "
            "was tuned. A label that is never given has an F1 of 0, one without positives in the "
            "test split has none and is left out of the macro mean; the micro figure counts how "
            "often it is given in vain."
        )
    else:
        found.append("The answer is the class of the highest logit; no threshold was tuned.")
    if seeds > 1:
        counted = "numbers of answers" if several else "rates"
        found.append(
            f"F1 and {counted} are means over {seeds} seeds."
            if several
            else f"F1 and {counted} are means over {seeds} seeds; counts are of all seeds together."
        )
    if not several:
        scores = _scores(group, kept(answering(group)[0])[0])
        absent = [
            escape(name)
            for name, score in zip(group.entry.classes, scores, strict=True)
            if score.positives == 0
        ]
        if absent:
            found.append(
                f"The test split has no image of {join(absent)}: there F1 is not defined, and the "
                "macro mean leaves it out."
            )
    silent = {
        outcome.title: sum(int((_answers(cell) == -1).sum()) for cell in kept(outcome))
        for outcome in answering(group)
    }
    found += [
        f"{escape(title)} gave no answer {plural(count, 'time')}, because a logit was not a "
        f"number: {'such a label counts as not given' if several else 'counted as wrong in F1'}."
        for title, count in silent.items()
        if count
    ]
    return " ".join(found)


def _answers(cell: Trained) -> NDArray[np.int64]:
    assert cell.predictions is not None
    return cell.predictions


def _scores(group: Group, cell: Trained) -> tuple[metrics.Answered, ...]:
    assert cell.arrays is not None
    return metrics.answered(_answers(cell), cell.arrays.test_labels, len(group.entry.classes))


def _micro(cell: Trained) -> float | None:
    assert cell.arrays is not None
    return metrics.micro_f1(_answers(cell), cell.arrays.test_labels)


def _f1(group: Group, outcome: Outcome, place: int) -> float:
    """Mean over the seeds, NaN where it is not defined."""
    values = [_scores(group, cell)[place].f1 for cell in kept(outcome)]
    return float(np.mean([np.nan if value is None else value for value in values]))


def _mean(
    group: Group,
    outcome: Outcome,
    of: Callable[[tuple[metrics.Answered, ...]], float | None],
) -> str:
    return _number([of(_scores(group, cell)) for cell in kept(outcome)])


def _number(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if len(known) == len(values) else "undefined"


def _found(group: Group, outcome: Outcome, place: int) -> str:
    """Share of the images of a class that are answered so: mean over the seeds, exact interval."""
    hits = []
    for cell in kept(outcome):
        assert cell.arrays is not None
        own = cell.arrays.test_labels == place
        hits.append(int((_answers(cell)[own] == place).sum()))
    images = int(own.sum())
    if not images:
        return "undefined"
    return percent_interval(statistics.mean_accuracy(hits, images), percent_places(images))

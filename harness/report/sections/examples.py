"""Example predictions with class-activation maps; maps that look the same are shown once."""

from __future__ import annotations

from harness.analysis.examples import Examples, map_difference, map_size
from harness.analysis.labels import is_synthetic
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.section import Drawing, drawing, folded, for_workloads, paragraphs
from harness.report.text import capitalised, escape, join, number, plural, table


def body(each: WorkloadSummary) -> str:
    found = _examples(each)
    pictures = [figure.markdown for figure in figures(each)]
    listing = folded("The same examples as a table", listed(found))
    return paragraphs(how_chosen(found), *pictures, difference(found), listing)


def _examples(each: WorkloadSummary) -> Examples:
    assert each.examples is not None
    return each.examples


def truth(found: Examples, index: int) -> str:
    return join(found.truth(index)) if found.truth(index) else "no label"


def heading(found: Examples, index: int) -> str:
    """What stands over an example."""
    return f"{index + 1}. Shown for {found.shown_for(index)}; truth: {truth(found, index)}"


def columns(found: Examples) -> list[str]:
    """Titles of the columns of maps: variants whose maps look the same share one."""
    if len(found.distinct) == 1 and len(found.cells) > 1:
        return [f"all {len(found.cells)} variants"]
    return [
        group[0][0].title + (f" and {len(group) - 1} more" if len(group) > 1 else "")
        for group in found.distinct
    ]


def listed(found: Examples) -> str:
    """One row an example: what it is, what it is shown for, and each variant's probability."""
    header = ["No.", "Test image", "Truth", "Shown for"]
    header += [f"{escape(outcome.title)}, probability" for outcome, _ in found.cells]
    rows = [
        [
            str(index + 1),
            str(row),
            escape(truth(found, index)),
            escape(found.shown_for(index)),
            *(_probability(values[index]) for values in found.probabilities),
        ]
        for index, row in enumerate(found.rows)
    ]
    return table(header, rows, align="rrll" + "r" * len(found.cells))


def _probability(value: float) -> str:
    return "not a number" if value != value else f"{value:.3f}"


def how_chosen(found: Examples) -> str:
    """Which images these are."""
    entry = found.workload.entry
    if entry.task == "multiclass" and len(entry.classes) > 2:
        rule = (
            "the wrong predictions of the highest probability, of different classes first, then "
            "correct ones; each is shown for the class that was predicted"
        )
    else:
        rule = (
            "positives with the highest logits, negatives with the highest logits, and positives "
            "with the lowest"
        )
        rule += ", of different labels first" if entry.task == "multilabel" else ""
    patients = "" if found.workload.patients is None else " No patient is shown twice."
    synthetic = (
        " **These images are synthetic**: no patient was X-rayed or photographed for them."
        if is_synthetic(found.workload.dataset, entry)
        else ""
    )
    rows, cells = map_size(found.first)
    pixels = " x ".join(map(str, found.images.shape[2:]))
    return (
        "Selected by rule from what the variant that finished first predicted (seed "
        f"{found.seed}): {rule}.{patients} A map has {rows} x {cells} cells, spread over {pixels} "
        f"pixels. They show what errors look like, not how often they happen.{synthetic}"
    )


def difference(found: Examples) -> str:
    """How far the maps of the variants are apart."""
    lines = []
    if len(found.cells) > 1:
        (reference, first), *others = found.cells
        parts = []
        for outcome, arrays in others:
            apart = map_difference(first, arrays)
            if apart == "another size":
                (a, b), (c, d) = map_size(arrays), map_size(first)
                shown = f"maps of another size ({a} x {b} cells against {c} x {d})"
            else:
                shown = "maps that are not numbers" if isinstance(apart, str) else number(apart, 2)
            parts.append(f"{shown} for {escape(outcome.title)}")
        lines.append(
            f"Largest difference from the map of {escape(reference.title)} in any cell of any of "
            f"the {plural(len(found.rows), 'map')}, relative to the larger of the two maps' "
            f"maxima: {join(parts)}. The networks are compared after training, which amplifies "
            "rounding."
        )
    if found.others:
        titles = join([escape(outcome.title) for outcome in found.others])
        lines.append(f"{capitalised(titles)} kept no maps of these images.")
    return " ".join(lines)


def figures(each: WorkloadSummary) -> list[Drawing]:
    def draw() -> bytes:
        from harness.report import class_activation

        found = _examples(each)
        headings = [heading(found, index) for index in range(len(found.rows))]
        return class_activation.draw(found, columns(found), headings)

    alt = "Test images, each with the class-activation map of the variants over it"
    return [drawing(each.workload, "examples", alt, draw, suffix="png")]


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Class-activation map**: Grad-CAM (Selvaraju et al. 2017) at the last feature maps, in "
        "evaluation: the sum of these maps, each times the mean gradient of the logit in it, where "
        "that is positive. It has as few cells as they have and is spread over the image "
        "bilinearly. Each map is scaled by its own maximum, so colours say nothing of how high a "
        "logit is. Of two classes it is the map of the second one's logit alone, while the "
        "probability rests on both."
    ]


SECTION = for_workloads(
    title="Example predictions",
    applies=lambda each: each.examples is not None,
    body=body,
    figures=figures,
    terms=terms,
    intro="A class-activation map (Grad-CAM) shows **where a logit comes from, not whether it is "
    "right**: it marks the positions of the last feature maps that raise one logit. It is no proof "
    "that a network looks at what a person would, and it marks no outline of a finding.",
)

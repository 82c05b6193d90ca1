"""What was held identical: settings, digests, and the first losses."""

from __future__ import annotations

import math

from harness import settings
from harness.analysis.agreement import DRIFT_FACTOR, TOLERANCE
from harness.analysis.identity import ITEMS, Check
from harness.analysis.run import MOST_SHOWN, Outcome, Run, Workload, title_of
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.parity.rounding import ROUNDINGS
from harness.report.section import Section, folded, for_workloads, paragraphs
from harness.report.text import NOTHING, code, escape, join, number, plural, table

DIGEST = 12
"""Characters of a SHA-256 that are shown: enough to tell a handful apart."""
STATUS = {
    "not used": "none: nothing to compare",
    "not compared": "nothing to compare: one framework only",
}


def of_workload(each: WorkloadSummary) -> str:
    return paragraphs(
        identity_table(each),
        adapted(each.run, each.workload),
        folded(f"The digests, variant by variant{_of_which(each)}", digests(each)),
        losses(each) if each.agreements else "",
    )


def identity_table(each: WorkloadSummary) -> str:
    """One row an item: whether all variants had the same, over all seeds."""
    rows = []
    for item in each.items:
        seeds = plural(item.compared, "seed")
        if item.status == "identical":
            said = f"identical: yes ({seeds})"
        elif item.status == "different":
            said = f"**identical: NO** ({item.identical} of {seeds})"
        else:
            said = STATUS[item.status]
        rows.append([ITEMS[item.item], said])
    return table(["Held", "Between the variants"], rows)


def digests(each: WorkloadSummary) -> str:
    """One row an item and seed, one column a variant: the first characters of each SHA-256.

    Digests that are the same in all variants are shown once; of many seeds those of the first, and
    any that differ.
    """
    first = each.run.manifest.experiment.seeds[:MOST_SHOWN]
    finished = each.workload.finished
    shared = all(check.identical for check in each.checks)
    columns = finished[:1] if shared else finished
    titles = ["All variants"] if shared else [escape(outcome.title) for outcome in columns]
    rows = [
        [
            ITEMS[check.item],
            str(check.seed),
            *(_digest(check, outcome) for outcome in columns),
            ("yes" if check.identical else "**NO**") if check.comparable else NOTHING,
        ]
        for check in each.checks
        if check.seed in first or (check.comparable and not check.identical)
    ]
    return table(["Held", "Seed", *titles, "Identical"], rows)


def _of_which(each: WorkloadSummary) -> str:
    many = len(each.run.manifest.experiment.seeds) > MOST_SHOWN
    return f": the first {MOST_SHOWN} seeds, and any that differ" if many else ""


def _digest(check: Check, outcome: Outcome) -> str:
    digest = check.digests.get(outcome.framework)
    if digest == "none":
        return digest
    return code(digest[:DIGEST]) if digest else NOTHING


def losses(each: WorkloadSummary) -> str:
    """First loss of every cell, and how far the next ones are from the reference's."""
    reference = each.workload.reference
    assert reference is not None
    steps = max((found.steps for found in each.agreements), default=0)
    header = [
        "Variant",
        "Seed",
        "Loss of the first step",
        f"Largest relative difference from {escape(reference.title)}, first {steps} steps",
    ]
    rows = []
    for found in each.agreements:
        apart = found.largest_difference
        shown = "not a number" if math.isnan(apart) else number(apart, 2)
        if found.framework == reference.framework:
            shown = "reference"
        title = escape(title_of(found.framework))
        rows.append([title, str(found.seed), f"{found.first_loss:.8f}", shown])
    return paragraphs(table(header, rows, align="lrrr"), _drift(each))


def _drift(each: WorkloadSummary) -> str:
    """A sentence on how far rounding alone leads losses; nothing where it was not measured."""
    drift = each.drift
    if drift is None:
        return ""
    largest = float(drift.largest(drift.steps)[-1])
    gradient = ", and a first gradient that is off by as much" if drift.of_gradient else ""
    return (
        f"Rounding alone: {escape(title_of(drift.framework))}, trained once more from the weights "
        f"of seed {drift.seed}, each off by at most {ROUNDINGS} machine epsilons{gradient}, had "
        "losses that "
        f"differ by up to {number(largest, 2)} relative within {plural(drift.steps, 'step')}. "
        f"Variants whose losses stay within {DRIFT_FACTOR:g} times what that reached by twice the "
        f"step, or within {TOLERANCE[each.run.manifest.experiment.training.precision]:g}, draw no "
        "warning."
    )


def hyperparameters(run: Run) -> str:
    found = {name: escape(value) for name, value in settings.rows(run.manifest.experiment)}
    found["initial weights"] = initial_weights(run)
    return table(["Setting", "Value"], [[escape(name), value] for name, value in found.items()])


def initial_weights(run: Run) -> str:
    """What training starts from."""
    file = run.manifest.experiment.training.initial_weights
    if file is None:
        return "drawn by the protocol from the seed"
    sha256 = run.manifest.initial_weights_sha256
    return f"file {code(file.name)}" + (f", SHA-256 {code(sha256)}" if sha256 else "")


def adapted(run: Run, workload: Workload) -> str:
    """A sentence on what does not start as the file of initial weights has it; or nothing."""
    if run.manifest.experiment.training.initial_weights is None or workload.card is None:
        return ""
    results = [cell.result for o in workload.finished for cell in o.trained.values()]
    names = list(dict.fromkeys(name for result in results for name in result.adapted))
    if not names:
        return "All parameters start as the file of initial weights has them."
    head = [code(name) for name in names if name.startswith(f"{workload.card.head}.")]
    stem = [code(name) for name in names if name.startswith(f"{workload.card.stem}.")]
    found = []
    if head:
        found.append(
            f"{join(head)} {'was' if len(head) == 1 else 'were'} drawn anew from the seed, because "
            "the file has a head for other outputs"
        )
    if stem:
        how = "summed over" if workload.entry.image_shape[0] == 1 else "spread evenly over"
        found.append(f"{join(stem)} was {how} the colours, because the file sees other images")
    return f"Of the file of initial weights, {'; '.join(found)}. The rest starts as in the file."


def explanation(summary: RunSummary) -> str:
    precision = summary.run.manifest.experiment.training.precision
    return (
        "The digests are SHA-256: of the data file that every framework reads; of the pixels and "
        "labels as each framework holds them, computed in its own language (of large splits an "
        "evenly spaced part); of the initial "
        "weights as each framework gave them back after loading them; of the order of the batches, "
        "the learning rates and the augmentation parameters that it was handed. That they computed "
        f"the same from it shows in the losses: in {precision} they are expected to agree to "
        f"{TOLERANCE[precision]:g} relative over the first steps. Later steps drift apart further, "
        "because training amplifies rounding; the proof of parity measures how far."
    )


_DIGESTS = for_workloads(
    title="What was held identical",
    applies=lambda each: bool(each.workload.finished),
    body=of_workload,
)
SECTION = Section(
    title=_DIGESTS.title,
    body=lambda summary: paragraphs(
        hyperparameters(summary.run), _DIGESTS.body(summary), explanation(summary)
    ),
)

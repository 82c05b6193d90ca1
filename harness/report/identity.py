"""What was held identical, checked; and everything else that a reader must be warned of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.analysis.comparison import Closeness, Group, Run, title_of, took_turns
from harness.measure.variables import decisive
from harness.plugins import backends
from harness.report import noise
from harness.report.text import capitalised, code, escape, join, number, plural, shorten
from harness.results.records import Identity
from harness.stats import metrics

ITEMS = {
    "data": "data",
    "initial_weights": "initial weights",
    "batch_order": "batch order",
    "learning_rates": "learning rates",
    "augmentation": "moves of the images",
}
"""Fields of :class:`Identity` and what a person calls them."""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Relative: how close the first losses must stay, for the parity tests and for this report."""
BUSY = 0.25
"""Load average for each hardware thread above which a machine was not idle when a run began."""

assert set(ITEMS) == set(Identity.model_fields)


@dataclass(frozen=True)
class Check:
    """One item of one seed in every framework that finished it."""

    item: str
    seed: int
    digests: dict[str, str]
    """By framework."""

    @property
    def comparable(self) -> bool:
        return len(self.digests) > 1

    @property
    def identical(self) -> bool:
        return len(set(self.digests.values())) == 1


def checks(group: Group) -> list[Check]:
    """Item by item and seed by seed."""
    return [
        Check(
            item=item,
            seed=seed,
            digests={
                outcome.framework: getattr(outcome.trained[seed].identity, item)
                for outcome in group.comparable
                if seed in outcome.trained
            },
        )
        for item in ITEMS
        for seed in group.seeds
    ]


def findings(run: Run) -> list[str]:
    """Markdown sentences that stand at the top of the report, worst first."""
    found = [
        sentence
        for look in (
            _not_identical,
            _recount,
            _far_apart,
            _failures,
            _lost_extras,
            _incomplete,
            _unsteady,
            noise.findings,
            _apart,
            _lost,
        )
        for group in run.groups
        for sentence in look(run, group)
    ]
    for name, reason in run.manifest.skipped.items():
        found.append(f"{escape(title_of(name))} was skipped: {escape(shorten(reason))}.")
    return found + _circumstances(run)


def _circumstances(run: Run) -> list[str]:
    """What makes the machine or the code less than trustworthy."""
    recorded = run.folder.environment
    found = []
    cores, load = recorded.get("cores_logical"), recorded.get("load_average")
    if isinstance(cores, int) and isinstance(load, list) and load and load[0] > BUSY * cores:
        found.append(
            f"The machine was busy when the run began (load average {load[0]:.2f} on "
            f"{plural(cores, 'hardware thread')}): speeds may be too low and spread too far."
        )
    if named := decisive(recorded.get("variables") or {}):
        listed = ", ".join(code(f"{name}={value}") for name, value in named.items())
        found.append(
            f"**Environment variables** that may change speeds were set, and reached the "
            f"frameworks: {listed}."
        )
    if changes := run.folder.environment_changes():
        found.append(
            f"**Mixed sessions**: the run was resumed elsewhere ({escape('; '.join(changes))}). "
            "Speeds of different sessions are not compared with each other."
        )
    if str(recorded.get("git_commit")).endswith("-dirty"):
        found.append(
            "The harness had changes that were not committed, so its commit does not tell which "
            "code ran."
        )
    return found


def _unsteady(run: Run, group: Group) -> Iterator[str]:
    for outcome in group.finished:
        if not outcome.is_steady:
            yield (
                f"**Unsteady**: {escape(outcome.title)}, {escape(group.title)}: the middle "
                f"half of its rounds spans a factor of {number(outcome.unsteadiness)} in speed. "
                "Other work on the machine does that: its speed here is not to be quoted."
            )


def _apart(run: Run, group: Group) -> Iterator[str]:
    reference = group.reference
    for outcome in group.finished:
        for seed, cell in outcome.trained.items():
            other = reference.trained.get(seed) if reference else None
            if reference and other is not None and not took_turns(cell, other):
                yield (
                    f"{escape(outcome.title)} and {escape(reference.title)}, "
                    f"{escape(group.title)}, seed {seed}, did not run in turns (one was resumed "
                    "later): that seed is left out of their speed ratio."
                )


def _not_identical(run: Run, group: Group) -> Iterator[str]:
    for check in checks(group):
        if not check.identical:
            yield (
                f"**NOT IDENTICAL**: the {ITEMS[check.item]} of {escape(group.title)}, "
                f"seed {check.seed}, differed between frameworks. "
                "Speeds and accuracies below do not compare like with like."
            )
    for seed in group.seeds:
        labels = [
            outcome.trained[seed].arrays.test_labels  # type: ignore[union-attr]
            for outcome in group.finished
            if seed in outcome.trained and outcome.trained[seed].arrays is not None
        ]
        if any(not np.array_equal(labels[0], other) for other in labels[1:]):
            yield (
                f"**NOT IDENTICAL**: the test labels of {escape(group.title)}, seed {seed}, "
                "differed between frameworks: their accuracies are of different test images."
            )


def _recount(run: Run, group: Group) -> Iterator[str]:
    for outcome in group.finished:
        for seed, cell in outcome.trained.items():
            if cell.right is None or cell.ranked is None:
                continue
            correct = int(cell.right.sum())
            if (correct, cell.right.size) != (cell.test.correct, cell.test.examples):
                yield (
                    f"**Counts disagree**: {escape(outcome.title)}, {escape(group.title)}, "
                    f"seed {seed}: the stored predictions give {correct} of "
                    f"{cell.right.size} right, the stored result says "
                    f"{cell.test.correct} of {cell.test.examples}."
                )
            recomputed = metrics.aurocs(*cell.ranked) if cell.test.auroc else ()
            if not _alike(recomputed, cell.test.auroc):
                yield (
                    f"**Scores disagree**: {escape(outcome.title)}, {escape(group.title)}, "
                    f"seed {seed}: the AUROCs of the stored predictions are not those of the "
                    "stored result."
                )


def _alike(one: tuple[float | None, ...], other: tuple[float | None, ...]) -> bool:
    return len(one) == len(other) and all(
        first is second or (first is not None and second is not None and abs(first - second) < 1e-9)
        for first, second in zip(one, other, strict=True)
    )


def _far_apart(run: Run, group: Group) -> Iterator[str]:
    precision = run.manifest.experiment.training.precision
    tolerance = TOLERANCE[precision]
    reference = group.reference
    drifted: dict[str, list[Closeness]] = {}
    for close in group.closeness():
        spec = backends().get(close.framework)
        if spec is not None and spec.lower_precision:
            continue  # another arithmetic, which the note on that row says
        where = f"{escape(title_of(close.framework))}, {escape(group.title)}, seed {close.seed}"
        if close.steps and math.isnan(close.largest_difference):
            yield f"{where}: a training loss is not a number within the first {close.steps} steps."
        elif close.first_difference > tolerance and reference is not None:
            yield (
                f"**Not the same computation**: {where}: already the first training loss differs "
                f"from that of {escape(reference.title)} by {number(close.first_difference)} "
                f"relative, more than {tolerance:g}."
            )
        elif close.largest_difference > tolerance and reference is not None:
            drifted.setdefault(close.framework, []).append(close)
    for framework, found in drifted.items():
        assert reference is not None
        worst = max(found, key=lambda close: close.largest_difference)
        seeds = [str(close.seed) for close in found]
        yield (
            f"{escape(title_of(framework))}, {escape(group.title)}, "
            f"{'seed' if len(seeds) == 1 else 'seeds'} {join(seeds)}: within the first "
            f"{worst.steps} steps the training losses differ from those of "
            f"{escape(reference.title)} by up to {number(worst.largest_difference)} relative, more "
            f"than the {tolerance:g} expected in {precision}. Either training amplified rounding, "
            "as Adam does, or the two do not compute the same."
        )


def _failures(run: Run, group: Group) -> Iterator[str]:
    for outcome in group.outcomes:
        for seed, result in outcome.failed.items():
            reason = escape(shorten(result.error or "no reason was recorded"))
            log = code(f"logs/{result.cell.id}.log")
            yield (
                f"**{capitalised(result.outcome)}**: {escape(outcome.title)}, "
                f"{escape(group.title)}, seed {seed}: {reason} (log: {log})."
            )


def _lost_extras(run: Run, group: Group) -> Iterator[str]:
    for outcome in group.finished:
        for seed, cell in outcome.trained.items():
            for name, extra in cell.result.unfinished.items():
                what = escape(shorten(extra.message)) if extra.message else "not measured yet"
                yield (
                    f"**Without {name}**: {escape(outcome.title)}, {escape(group.title)}, "
                    f"seed {seed}: {what}."
                )


def _incomplete(run: Run, group: Group) -> Iterator[str]:
    for outcome in group.outcomes:
        if outcome.missing:
            seeds = join([str(seed) for seed in outcome.missing])
            yield (
                f"**Not run yet**: {escape(outcome.title)}, {escape(group.title)}, "
                f"seed{'s' if len(outcome.missing) > 1 else ''} {seeds}."
            )


def _lost(run: Run, group: Group) -> Iterator[str]:
    lost = [
        cell
        for outcome in group.finished
        for cell in outcome.trained.values()
        if cell.arrays is None
    ]
    if lost:
        yield (
            f"{escape(group.title)}: predictions and step losses of "
            f"{plural(len(lost), 'cell')} are missing from the folder, so these take no part in "
            "paired tests and loss curves."
        )

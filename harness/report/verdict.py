"""What the numbers say, in plain words, and no more than they say."""

from __future__ import annotations

import math

from harness.analysis.comparison import (
    SIGNIFICANCE,
    Group,
    Outcome,
    Pair,
    doubt,
    paired_speed,
    paired_starts,
)
from harness.report import labels
from harness.report.identity import checks
from harness.report.text import (
    auroc_interval,
    capitalised,
    difference_parts,
    escape,
    join,
    number,
    p_value,
    percent,
    percent_interval,
    percent_places,
    plural,
    ratio_parts,
)
from harness.results.speed import MINIMUM_ROUNDS
from harness.stats.statistics import CONFIDENCE, Estimate

MOST_NAMED = 4
"""Pairs that a sentence names; a table has them all."""
SHARE = "share of images with all labels right"


def verdict(group: Group) -> str:
    """One paragraph of Markdown, on the variants that are ranked."""
    sentences = _diverged(group)
    if group.ranked:
        sentences += [*_speed(group), *_auroc(group), *_accuracy(group), *_identity(group)]
    elif group.finished:
        sentences += ["No plain variant finished, so nothing is ranked.", *_identity(group)]
    else:
        sentences.append("No framework finished, so there is nothing to compare.")
    return " ".join(sentences)


def _diverged(group: Group) -> list[str]:
    sentences = []
    for outcome in group.outcomes:
        seeds = [str(s) for s, result in outcome.failed.items() if result.status == "diverged"]
        if seeds:
            sentences.append(
                f"**{escape(outcome.title)} diverged** with seed{'s' * (len(seeds) > 1)} "
                f"{join(seeds)} and is not ranked there."
            )
    return sentences


def _speed(group: Group) -> list[str]:
    leader = max(group.ranked, key=lambda outcome: outcome.speed.value)
    others = [outcome for outcome in group.ranked if outcome is not leader]
    pace = f"{number(leader.speed.value)} images a second"
    if not others:
        every = [outcome for outcome in group.outcomes if outcome.role == group.ranked_role]
        start = "This run has only" if len(every) == 1 else "Only one framework finished:"
        plain = " as a plain variant" if len(group.finished) > 1 else ""
        trained = f"It trained {pace}" + (f" ({leader.doubt})" if leader.doubt else "")
        return [f"{start} {escape(leader.title)}{plain}, so nothing is ranked. {trained}."]

    behind: list[tuple[Outcome, Estimate]] = []
    undecided: list[tuple[Outcome, Estimate]] = []
    disturbed: list[Outcome] = []
    too_few: list[tuple[Outcome, Estimate]] = []
    unpaired: list[Outcome] = []
    for outcome in others:
        # The leader was picked among all, so its intervals hold for every pair at once.
        estimate = paired_speed(leader, outcome, comparisons=group.speed_comparisons)
        if doubt(leader, outcome):
            disturbed.append(outcome)
        elif estimate is None:
            unpaired.append(outcome)
        elif not estimate.has_interval:
            too_few.append((outcome, estimate))
        elif estimate.low > 1:
            behind.append((outcome, estimate))
        else:
            undecided.append((outcome, estimate))

    sentences: list[str] = []
    name = escape(leader.title)
    clear = len(behind) == len(others)
    if behind:
        start = (
            f"{name} trained fastest, at {pace}: "
            if clear
            else f"{name} had the highest median training speed, {pace}: "
        )
        parts = [
            _times(outcome, estimate, first=n == 0) for n, (outcome, estimate) in enumerate(behind)
        ]
        sentences.append(start + join(parts) + ".")
    elif undecided or too_few:
        sentences.append(f"{name} had the highest median training speed, {pace}.")
    if undecided:
        shown = [f"{escape(o.title)} (ratio {_with_interval(e)})" for o, e in undecided]
        sentences.append(f"No difference in training speed is shown between it and {join(shown)}.")
    if behind or undecided:
        sentences.append(_covered(group, leader, [outcome for outcome, _ in behind + undecided]))
    if disturbed:
        sentences.append(_not_judged(group, leader, disturbed, alone=not (behind or undecided)))
    if too_few:
        shown = [f"{ratio_parts(e)[0]} times that of {escape(o.title)}" for o, e in too_few]
        sentences.append(
            f"Its median speed was {join(shown)}, but fewer than {MINIMUM_ROUNDS} interleaved "
            "rounds were timed: too few for an interval, so no difference is shown."
        )
    if unpaired:
        names = join([escape(outcome.title) for outcome in unpaired])
        sentences.append(f"It finished no seed in common with {names}, so they are not compared.")
    return sentences


def _covered(group: Group, leader: Outcome, others: list[Outcome]) -> str:
    """What the intervals of speed ratios cover."""
    counts = {len(paired_starts(leader, outcome) or []) for outcome in others}
    together = ", and hold together" if group.speed_comparisons > 1 else ""
    if counts == {1}:
        return (
            f"{'These intervals cover' if len(others) > 1 else 'This interval covers'} the rounds "
            f"of this one start{together}; other starts may differ by more."
        )
    shown = join([str(count) for count in sorted(counts)])
    which = "These intervals cover" if len(others) > 1 else "This interval covers"
    return f"{which} further starts on this machine, from {shown} fresh starts{together}."


def _not_judged(group: Group, leader: Outcome, others: list[Outcome], *, alone: bool) -> str:
    """Speeds of which nothing is claimed, and why."""
    reasons: dict[str, list[str]] = {}
    for outcome in (leader, *others):
        if outcome.doubt:
            reasons.setdefault(outcome.doubt, []).append(escape(outcome.title))
    why = [f"{join(names)}: {reason}" for reason, names in reasons.items()]
    if not why:
        why = ["no round was undisturbed for both"]
    names = join([escape(outcome.title) for outcome in others])
    what = (
        f"The training speeds of {escape(leader.title)} and {names} are"
        if alone
        else f"Its speed against {names} is"
    )
    return f"{what} **not judged** ({'; '.join(why)}): see below."


def _times(outcome: Outcome, estimate: Estimate, *, first: bool) -> str:
    value, interval = ratio_parts(estimate)
    if first:
        shown = f"{100 * CONFIDENCE:.0f} % interval {interval}"
        return f"{value} times the speed of {escape(outcome.title)} ({shown})"
    return f"{value} times that of {escape(outcome.title)} ({interval})"


def _with_interval(estimate: Estimate) -> str:
    value, interval = ratio_parts(estimate)
    return f"{value}, {100 * CONFIDENCE:.0f} % interval {interval}"


def _auroc(group: Group) -> list[str]:
    if not group.labels:
        return []
    finished = group.ranked
    name = labels.name_of(group)
    if len(finished) == 1:
        shown = auroc_interval(finished[0].mean_auroc)
        return [f"Its {name} on the test images is {shown}.", *_guessing(group)]
    means = [
        labels.UNDEFINED if math.isnan(o.mean_auroc.value) else f"{o.mean_auroc.value:.3f}"
        for o in finished
    ]
    if len(set(means)) == 1:
        values = f"{means[0]} in {'both' if len(means) == 2 else f'all {len(means)}'}"
    else:
        values = join([f"{escape(o.title)} {s}" for o, s in zip(finished, means, strict=True)])
    pairs = _ranked_pairs(group)
    tests = [(pair, test) for pair in pairs for test in pair.rank_tests]
    if not tests:
        return [
            f"{capitalised(name)} on the test images: {values}; nothing is at hand to test the "
            "difference.",
            *_guessing(group),
        ]
    differences = [
        (pair, test.seed, test.difference(group.rank_test_count)) for pair, test in tests
    ]
    apart = [found for found in differences if labels.apart(found[2])]
    if not apart:
        return [
            f"No difference in {name} is shown ({values}; paired on the same {_units(group)}).",
            *_guessing(group),
        ]
    named = [
        f"{escape(pair.first.title)} and {escape(pair.second.title)} "
        f"(seed {seed}: {difference_parts(found)[0]}, {difference_parts(found)[1]})"
        for pair, seed, found in apart[:MOST_NAMED]
    ]
    if len(apart) > MOST_NAMED:
        named.append(f"{len(apart) - MOST_NAMED} more")
    return [
        f"{capitalised(name)} ({values}) differs beyond the noise of the test {_units(group)} "
        f"between {join(named)}.",
        *_guessing(group),
    ]


def _guessing(group: Group) -> list[str]:
    """Who is not shown to have learnt anything: the interval covers 0.5."""
    names = [
        escape(outcome.title)
        for outcome in group.ranked
        if outcome.mean_auroc.has_interval and outcome.mean_auroc.low <= 0.5
    ]
    if not names:
        return []
    who = (
        "It is" if len(group.ranked) == 1
        else "None of them is" if len(names) == len(group.ranked)
        else f"{join(names)} {'is' if len(names) == 1 else 'are'}"
    )  # fmt: skip
    no = "" if who.startswith("None") else "not "
    return [f"**{who} {no}shown to rank images better than guessing would** (0.5)."]


def auroc_summary(group: Group) -> str:
    """One sentence on all pairs and seeds."""
    found = [
        test.difference(group.rank_test_count) for pair in group.pairs for test in pair.rank_tests
    ]
    apart = sum(map(labels.apart, found))
    if all(difference.value == 0 for difference in found):
        return (
            f"All {plural(len(found), 'comparison')} give exactly the same {labels.name_of(group)}."
        )
    largest = max((abs(difference.value) for difference in found), default=0.0)
    judged = (
        f"{apart} of {plural(len(found), 'comparison')} show a difference beyond the noise"
        if apart
        else f"none of {plural(len(found), 'comparison')} shows a difference"
    )
    return f"{capitalised(judged)}; the largest difference is {largest:.4f}."


def _units(group: Group) -> str:
    return "images" if group.patients is None else "patients"


def _accuracy(group: Group) -> list[str]:
    finished = group.ranked
    name = SHARE if group.entry.task == "multilabel" else "test accuracy"
    the = f"the {name}" if name == SHARE else name
    places = percent_places(finished[0].test_examples)
    if len(finished) == 1:
        shown = percent_interval(finished[0].accuracy, places)
        return [f"Its {name} is {shown} on {plural(finished[0].test_examples, 'image')}."]
    shares = [percent(outcome.accuracy.value, places) for outcome in finished]
    if len(set(shares)) == 1:
        values = f"{shares[0]} in {'both' if len(shares) == 2 else f'all {len(shares)}'}"
    else:
        values = join([f"{escape(o.title)} {s}" for o, s in zip(finished, shares, strict=True)])
    pairs = _ranked_pairs(group)
    if not pairs:
        lead = (
            f"{capitalised(name)}: {values}" if name == SHARE else f"Test accuracies are {values}"
        )
        return [f"{lead}; no predictions are at hand to test the difference."]
    apart = [(pair, p) for pair in pairs if (p := smallest_p(group, pair)) < SIGNIFICANCE]
    if apart:
        named = [
            f"{escape(pair.first.title)} and {escape(pair.second.title)} ({p_value(p)})"
            for pair, p in apart
        ]
        lead = (
            f"{capitalised(name)} ({values}) differs"
            if name == SHARE
            else f"Test accuracies ({values}) differ"
        )
        return [
            f"{lead} beyond the noise of the test images between {join(named)}, by paired tests "
            "corrected for their number."
        ]
    if all(test.differing == 0 for pair in pairs for test in pair.tests):
        return [
            f"No difference in {the} is shown ({values}): from the same seed they give "
            f"every test image the same {'labels' if name == SHARE else 'class'}."
        ]
    smallest = min(smallest_p(group, pair) for pair in pairs)
    return [
        f"No difference in {the} is shown ({values}; paired tests on the same images, "
        f"smallest corrected {p_value(smallest)})."
    ]


def _ranked_pairs(group: Group) -> list[Pair]:
    return [p for p in group.pairs if p.first in group.ranked and p.second in group.ranked]


def smallest_p(group: Group, pair: Pair) -> float:
    """Over the seeds, corrected for the number of tests in the group."""
    return min(group.corrected(test.paired.p) for test in pair.tests)


def accuracy_summaries(group: Group) -> list[str]:
    """Plain sentences on every two frameworks; those that answer alike share one."""
    alike = [pair for pair in group.pairs if all(test.differing == 0 for test in pair.tests)]
    if len(alike) < 2:
        return [_accuracy_summary(group, pair) for pair in group.pairs]
    found = [_accuracy_summary(group, pair) for pair in group.pairs if pair not in alike]
    titles = dict.fromkeys(o.title for pair in alike for o in (pair.first, pair.second))
    if found:
        lead = f"The other {len(alike)} pairs"
    elif len(alike) == math.comb(len(titles), 2):
        lead = f"Every two of {join([escape(title) for title in titles])} ({len(alike)} pairs)"
    else:
        lead = f"All {len(alike)} pairs"
    times = " for every seed" if len(group.seeds) > 1 else ""
    images = plural(alike[0].tests[0].examples, "image")
    return [*found, f"{lead} give the same answer on all {images}{times}: no difference shown."]


def _accuracy_summary(group: Group, pair: Pair) -> str:
    """One plain sentence on two frameworks."""
    names = f"{escape(pair.first.title)} and {escape(pair.second.title)}"
    counts = sorted({test.differing for test in pair.tests})
    examples = pair.tests[0].examples
    spread = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    seeds = len(pair.tests)
    if counts == [0]:
        times = f" for each of {seeds} seeds" if seeds > 1 else ""
        return (
            f"{names} give the same answer on all {plural(examples, 'image')}{times}: "
            "no difference shown."
        )
    p = min(test.paired.p for test in pair.tests)
    if seeds == 1:
        lead = f"{names} disagree on {spread} of {plural(examples, 'image')}, {p_value(p)}"
    else:
        lead = (
            f"{names} disagree on {spread} of {plural(examples, 'image')} for each of {seeds} "
            f"seeds, smallest {p_value(p)}"
        )
    if group.test_count > 1:
        lead += f" ({p_value(smallest_p(group, pair))} corrected for {group.test_count} tests)"
    judged = (
        "a difference beyond the noise"
        if smallest_p(group, pair) < SIGNIFICANCE
        else "no difference shown"
    )
    return f"{lead}: {judged}."


def _identity(group: Group) -> list[str]:
    comparable = [check for check in checks(group) if check.comparable]
    if not comparable:
        return []
    if all(check.identical for check in comparable):
        return [f"Every framework got identical data, initial weights, {_batches(group)}."]
    return ["**But not everything was held identical: read the warnings first.**"]


def _batches(group: Group) -> str:
    cells = [cell for outcome in group.finished for cell in outcome.trained.values()]
    if all(cell.identity.augmentation == "none" for cell in cells):
        return "batches and learning rates"
    return "batches, moves of the images and learning rates"

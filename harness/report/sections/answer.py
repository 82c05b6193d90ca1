"""The answer: who is faster by how much, who is as accurate, what was identical, what to trust."""

from __future__ import annotations

import shlex

from harness.analysis.labels import is_synthetic, name_of
from harness.analysis.run import Outcome, Workload, title_of
from harness.analysis.speed import MINIMUM_ROUNDS
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.analysis.verdict import Accuracies, Aurocs, Speeds, Verdict
from harness.parity.certificate import Certificate
from harness.report.section import Section, bullets, paragraphs
from harness.report.text import (
    UNDEFINED,
    auroc_interval,
    capitalised,
    difference_parts,
    escape,
    interval_name,
    join,
    number,
    p_value,
    percent,
    percent_interval,
    percent_places,
    plural,
    ratio_parts,
)
from harness.stats.statistics import Estimate

MOST_NAMED = 4
"""Pairs that a sentence names; a table has them all."""
SHARE = "share of images with all labels correct"


def brief(summary: RunSummary) -> str:
    whole = [f"**Parity.** {parity(summary)}", f"**Trust.** {trust(summary)}"]
    found = [_items(each) for each in summary.workloads]
    if len(found) == 1:
        return paragraphs(bullets([*found[0], *whole]), *_synthetic(summary))
    parts = []
    for each, items in zip(summary.workloads, found, strict=True):
        parts += [f"**{escape(each.workload.title)}**", bullets(items)]
    return paragraphs(*parts, "**The whole run**", bullets(whole), *_synthetic(summary))


def _items(each: WorkloadSummary) -> list[str]:
    return [f"**{name}.** {text}" for name, text in answer(each).items() if text]


def answer(each: WorkloadSummary) -> dict[str, str]:
    """Markdown sentences on one workload, by what they are about."""
    verdict, workload = each.verdict, each.workload
    found = {"Diverged": _diverged(verdict)}
    if verdict.accuracies is None:
        found["Speed"] = (
            "No plain variant finished, so nothing is ranked."
            if verdict.finished
            else "No framework finished, so there is nothing to compare."
        )
    else:
        found["Speed"] = (
            "Not measured: this run is for accuracies only, and its cells trained side by side."
            if verdict.speeds is None
            else speed_sentences(verdict, verdict.speeds, workload)
        )
        if verdict.aurocs is not None:
            found["AUROC"] = _aurocs(verdict.aurocs, workload)
        name = "Accuracy" if workload.entry.task == "multiclass" else "All labels correct"
        found[name] = _accuracy(verdict.accuracies, workload)
    return found | {"Held identical": _identity(verdict)}


def trust(summary: RunSummary) -> str:
    """How many warnings there are, and where they stand."""
    severities = [finding.severity for finding in summary.findings]
    invalid, cautions = severities.count("invalid"), severities.count("caution")
    if invalid:
        warnings = plural(len(severities), "warning")
        return f"**Do not compare these numbers before reading the {warnings} below.**"
    if cautions:
        limit = "limits" if cautions == 1 else "limit"
        return f"{plural(cautions, 'warning')} below {limit} what can be concluded."
    return "Nothing was found that speaks against these numbers."


def parity(summary: RunSummary) -> str:
    """What the certificate says, or the command that makes it."""
    proof = summary.certificate
    if proof is None:
        folder = shlex.quote(summary.run.folder.path.resolve().name)
        return (
            "Not checked: `bench parity --run "
            f"{folder}` compares gradients and parameters in float64."
        )
    return certificate_verdict(proof)


def certificate_verdict(proof: Certificate) -> str:
    """One sentence that says whether all compute the same."""
    compared = [each for section in proof.sections for each in section.comparisons]
    wrong = [each for each in compared if not each.holds]
    if wrong:
        names = sorted({escape(title_of(each.framework)) for each in wrong})
        return f"**Not all compute the same:** {join(names)}."
    values = [d.value for each in compared for d in each.stages if d.tolerance is not None]
    if not values:
        return "There is one framework alone, and nothing to compare it with."
    return (
        "In float64 all frameworks compute the same: the largest relative deviation from the "
        f"reference is {max(values):.1e}."
    )


def _synthetic(summary: RunSummary) -> list[str]:
    names = [
        name for name, entry in summary.run.manifest.datasets.items() if is_synthetic(name, entry)
    ]
    return [
        f"**The images of {escape(name)} are synthetic**: a program drew them, no patient was ever "
        "X-rayed or photographed for them. Scores on them say how the frameworks compare, and "
        "nothing about real images."
        for name in names
    ]


def _diverged(verdict: Verdict) -> str:
    return " ".join(
        f"**{escape(outcome.title)} diverged** with seed{'s' * (len(seeds) > 1)} "
        f"{join(list(map(str, seeds)))} and is not ranked there."
        for outcome, seeds in verdict.diverged
    )


def speed_sentences(verdict: Verdict, speeds: Speeds, workload: Workload) -> str:
    leader, name = speeds.leader, escape(speeds.leader.title)
    pace = f"{number(leader.speed.value)} images a second"
    if not speeds.others:
        start = "This run has only" if verdict.planned == 1 else "Only one framework finished:"
        plain = " as a plain variant" if len(workload.finished) > 1 else ""
        trained = f"It trained {pace}" + (f" ({leader.doubt})" if leader.doubt else "")
        return f"{start} {name}{plain}, so nothing is ranked. {trained}."
    sentences = []
    if speeds.slower:
        lead = "trained fastest, at" if speeds.clear else "had the highest median training speed,"
        parts = [_times(o, e, first=n == 0) for n, (o, e) in enumerate(speeds.slower)]
        sentences.append(f"{name} {lead} {pace}: {join(parts)}.")
    elif speeds.undecided or speeds.too_few:
        sentences.append(f"{name} had the highest median training speed, {pace}.")
    if speeds.undecided:
        shown = [f"{escape(o.title)} (ratio {_with_interval(e)})" for o, e in speeds.undecided]
        sentences.append(f"No difference in training speed is shown between it and {join(shown)}.")
    if speeds.slower or speeds.undecided:
        sentences.append(_covered(speeds))
    if speeds.doubted:
        sentences.append(_not_judged(speeds))
    if speeds.too_few:
        shown = [f"{ratio_parts(e)[0]} times that of {escape(o.title)}" for o, e in speeds.too_few]
        sentences.append(
            f"Its median speed was {join(shown)}, but fewer than {MINIMUM_ROUNDS} interleaved "
            "rounds were timed: too few for an interval, so no difference is shown."
        )
    if speeds.unpaired:
        names = join([escape(outcome.title) for outcome in speeds.unpaired])
        sentences.append(f"It finished no seed in common with {names}, so they are not compared.")
    return " ".join(sentences)


def _covered(speeds: Speeds) -> str:
    """What the intervals of speed ratios cover."""
    several = len(speeds.slower) + len(speeds.undecided) > 1
    lead = "These intervals cover" if several else "This interval covers"
    together = ", and hold together" if speeds.comparisons > 1 else ""
    if speeds.starts == (1,):
        return f"{lead} the rounds of this one start{together}; other starts may differ by more."
    counts = join(list(map(str, speeds.starts)))
    return f"{lead} further starts on this machine, from {counts} fresh starts{together}."


def _not_judged(speeds: Speeds) -> str:
    """Speeds of which nothing is claimed, and why."""
    reasons: dict[str, list[str]] = {}
    for outcome in (speeds.leader, *speeds.doubted):
        if outcome.doubt:
            reasons.setdefault(outcome.doubt, []).append(escape(outcome.title))
    why = [f"{join(names)}: {reason}" for reason, names in reasons.items()]
    names = join([escape(outcome.title) for outcome in speeds.doubted])
    what = (
        f"Its speed against {names} is"
        if speeds.slower or speeds.undecided
        else f"The training speeds of {escape(speeds.leader.title)} and {names} are"
    )
    shown = "; ".join(why) or "no round was undisturbed for both"
    return f"{what} **not judged** ({shown})."


def _times(outcome: Outcome, estimate: Estimate, *, first: bool) -> str:
    value, interval = ratio_parts(estimate)
    if first:
        shown = f"{interval_name()} interval {interval}"
        return f"{value} times the speed of {escape(outcome.title)} ({shown})"
    return f"{value} times that of {escape(outcome.title)} ({interval})"


def _with_interval(estimate: Estimate) -> str:
    value, interval = ratio_parts(estimate)
    return f"{value}, {interval_name()} interval {interval}"


def _values(shown: list[tuple[Outcome, str]]) -> str:
    """'0.912 in all 3', or each with its variant."""
    if len({text for _, text in shown}) == 1:
        return f"{shown[0][1]} in {'both' if len(shown) == 2 else f'all {len(shown)}'}"
    return join([f"{escape(outcome.title)} {text}" for outcome, text in shown])


def _aurocs(found: Aurocs, workload: Workload) -> str:
    name = name_of(workload)
    guessing = _guessing(found)
    if len(found.values) == 1:
        one = auroc_interval(found.values[0][1])
        return f"Its {name} on the test images is {one}. {guessing}".strip()
    shown = [(o, UNDEFINED if v.value != v.value else f"{v.value:.3f}") for o, v in found.values]
    values = _values(shown)
    units = "images" if workload.patients is None else "patients"
    if not found.tested:
        lead = f"{capitalised(name)}: {values}; no predictions are at hand to test the difference."
    elif not found.different:
        lead = f"No difference in {name} is shown ({values}; paired on the same {units})."
    else:
        named = [
            f"{escape(pair.first.title)} and {escape(pair.second.title)} "
            f"(seed {seed}: {difference_parts(each)[0]}, {difference_parts(each)[1]})"
            for pair, seed, each in found.different[:MOST_NAMED]
        ]
        if len(found.different) > MOST_NAMED:
            named.append(f"{len(found.different) - MOST_NAMED} more")
        lead = (
            f"{capitalised(name)} ({values}) differs beyond the noise of the test {units} between "
            f"{join(named)}."
        )
    return f"{lead} {guessing}".strip()


def _guessing(found: Aurocs) -> str:
    """Who is not shown to have learnt anything."""
    names = [escape(outcome.title) for outcome in found.guessing]
    if not names:
        return ""
    if len(names) == len(found.values) > 1:
        return "**None of them is shown to rank images better than guessing would** (0.5)."
    who = (
        "It is" if len(found.values) == 1 else f"{join(names)} {'is' if len(names) == 1 else 'are'}"
    )
    return f"**{who} not shown to rank images better than guessing would** (0.5)."


def _accuracy(found: Accuracies, workload: Workload) -> str:
    name = SHARE if workload.entry.task == "multilabel" else "test accuracy"
    places = percent_places(found.examples)
    if len(found.values) == 1:
        shown = percent_interval(found.values[0][1], places)
        return f"Its {name} is {shown} on {plural(found.examples, 'image')}."
    values = _values([(o, percent(each.value, places)) for o, each in found.values])
    if not found.tested:
        return f"{capitalised(name)}: {values}; no predictions are at hand to test the difference."
    if found.different:
        named = [
            f"{escape(pair.first.title)} and {escape(pair.second.title)} ({p_value(p)})"
            for pair, p in found.different
        ]
        return (
            f"{capitalised(name)} ({values}) differs beyond the noise of the test images between "
            f"{join(named)}, by paired tests corrected for their number."
        )
    if found.same_predictions:
        return (
            f"No difference in {name} is shown ({values}): from the same seed they predict the "
            f"same {'labels' if name == SHARE else 'class'} for every test image."
        )
    assert found.smallest_p is not None
    return (
        f"No difference in {name} is shown ({values}; paired tests on the same images, smallest "
        f"corrected {p_value(found.smallest_p)})."
    )


def _identity(verdict: Verdict) -> str:
    if verdict.identity == "not compared":
        return ""
    if verdict.identity == "different":
        return "**Not everything was held identical: read the warnings first.**"
    augmented = ", augmentation" if verdict.augmented else ""
    return (
        f"Every framework got identical data, initial weights, batches{augmented} and learning "
        "rates."
    )


SECTION = Section(title="Answer", brief=brief)

"""What to distrust: every finding as a sentence."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis.agreement import DRIFT_FACTOR, TOLERANCE
from harness.analysis.findings import Finding
from harness.analysis.identity import ITEMS
from harness.analysis.run import title_of
from harness.analysis.summary import RunSummary
from harness.report.section import Section, bullets, paragraphs
from harness.report.text import capitalised, code, escape, join, number, plural, shorten

MOST_SHOWN = 8
"""Warnings on the first page; the details have all of them."""


def _seeds(finding: Finding) -> str:
    seeds = [str(seed) for seed in finding.seeds]
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {join(seeds)}" if seeds else ""


def _where(finding: Finding) -> str:
    """Framework, model and data set, and the seed where there are several."""
    outcome, workload = finding.outcome, finding.workload
    parts = [escape(outcome.title)] if outcome else []
    parts += [escape(workload.title)] if workload else []
    return ", ".join([*parts, *([_seeds(finding)] if finding.seeds else [])])


def _reference(finding: Finding) -> str:
    reference = finding.workload.reference if finding.workload else None
    return escape(reference.title) if reference else "the reference"


def _not_identical(f: Finding) -> str:
    return (
        f"**NOT IDENTICAL**: the {ITEMS[f.values['item']]} of {_where(f)}, differed between "
        "frameworks. Speeds and accuracies do not compare like with like."
    )


def _labels(f: Finding) -> str:
    return (
        f"**NOT IDENTICAL**: the test labels of {_where(f)}, differed between frameworks: their "
        "accuracies are of different test images."
    )


def _counts(f: Finding) -> str:
    (correct, size), (stored, examples) = f.values["counted"], f.values["stored"]
    return (
        f"**Counts disagree**: {_where(f)}: by the stored predictions {correct} of {size} are "
        f"correct, by the stored result {stored} of {examples}."
    )


def _aurocs(f: Finding) -> str:
    return (
        f"**AUROCs disagree**: {_where(f)}: those of the stored predictions are not those of the "
        "stored result."
    )


def _first_seeds(f: Finding) -> str:
    return (
        f"**Many trainings**: predictions and losses step by step were read of the first "
        f"{f.values['read']} of {f.values['seeds']} seeds. AUROC intervals, tests on the same "
        "images, confusion matrices and loss curves are of these; accuracies and speeds of all."
    )


def _nan(f: Finding) -> str:
    return (
        f"**Loss not a number**: {_where(f)}: a training loss is not a number within the first "
        f"{f.values['steps']} steps."
    )


def _computation(f: Finding) -> str:
    return (
        f"**Not the same computation**: {_where(f)}: already the first training loss differs from "
        f"that of {_reference(f)} by {number(f.values['difference'])} relative, more than "
        f"{f.values['tolerance']:g}."
    )


def _drift_apart(f: Finding) -> str:
    measured = f.values["measured in"]
    if measured is None:
        expected = (
            f"expected in {f.values['precision']}. Either training amplified rounding, as Adam "
            "does, or the two do not compute the same; `bench parity --run` tells which."
        )
    else:
        expected = (
            f"expected ({DRIFT_FACTOR:g} times what rounding makes of a training of "
            f"{escape(title_of(measured))}, and at least "
            f"{TOLERANCE[f.values['precision']]:g}). The two may not compute the same: the proof "
            "in float64 tells."
        )
    return (
        f"**Losses drift apart**: {_where(f)}: at step {f.values['step']} the training loss "
        f"differs from that of {_reference(f)} by {number(f.values['difference'])} relative, more "
        f"than the {number(f.values['expected'])} {expected}"
    )


def _failed(f: Finding) -> str:
    reason = escape(shorten(f.values["reason"] or "no reason was recorded"))
    log = code(f"logs/{f.values['cell']}.log")
    return f"**{capitalised(f.values['how'])}**: {_where(f)}: {reason} (log: {log})."


def _extra(f: Finding) -> str:
    reason = f.values["reason"]
    what = escape(shorten(reason)) if reason else "not measured yet"
    return f"**Without {f.values['name']}**: {_where(f)}: {what}."


def _unsteady(f: Finding) -> str:
    return (
        f"**Unsteady**: {_where(f)}: the middle half of its rounds spans a factor of "
        f"{number(f.values['factor'])} in speed. Other work on the machine does that: its speed "
        "is not to be quoted."
    )


def _drift(f: Finding) -> str:
    change = f.values["change"]
    return (
        f"**Drift**: {_where(f)}: speed {'rose' if change > 0 else 'fell'} by "
        f"{100 * abs(change):.0f} % from the first round to the last."
    )


def _two_speeds(f: Finding) -> str:
    v = f.values
    return (
        f"**Two speeds**: {_where(f)}: rounds fall into two clusters, around "
        f"{number(v['slower'])} and {number(v['faster'])} images a second (seed {v['seed']}, "
        f"{100 * v['share']:.0f} % of them slow); a median between them is neither."
    )


def _outliers(f: Finding) -> str:
    rounds = plural(f.values["rounds"], "round")
    return f"**Outliers**: {_where(f)}: {f.values['outliers']} of {rounds} lie far from the median."


def _load(f: Finding) -> str:
    loads = [f"{escape(title)} {mean:.2f}" for title, mean in f.values["loads"].items()]
    return (
        f"**Other load**: {_where(f)}: of {plural(f.values['threads'], 'core')}, other work used "
        f"on average {join(loads)}. It slows frameworks unequally: threads that wait actively lose "
        "most."
    )


def _clock(f: Finding) -> str:
    varied = [
        f"{escape(title)} {number(low, 4)} to {number(high, 4)} MHz"
        for title, (low, high) in f.values["clocks"].items()
    ]
    return f"**Clock**: {_where(f)}: the processors' clock changed: {join(varied)}."


def _machine(f: Finding) -> str:
    return (
        f"**Machine varied**: {_where(f)}: the same matrix product, timed before each round, ran "
        f"at {number(f.values['low'])} to {number(f.values['high'])} GFLOP/s (10th to 90th "
        "percentile)."
    )


def _heat(f: Finding) -> str:
    times = plural(f.values["count"], "time")
    return f"**Heat**: {_where(f)}: the processor slowed itself down {times} because of heat."


def _swap(f: Finding) -> str:
    return (
        f"**Swap**: {_where(f)}: {f.values['bytes'] / 2**20:,.1f} MiB went to or from swap while "
        "training was timed."
    )


def _apart(f: Finding) -> str:
    return (
        f"**Not interleaved**: {_where(f)}: it and {_reference(f)} did not run side by side (one "
        "was resumed later): that seed is left out of their speed ratio."
    )


def _lost(f: Finding) -> str:
    return (
        f"**Predictions missing**: {_where(f)}: predictions and step losses of "
        f"{plural(f.values['cells'], 'cell', 'is')} missing from the folder and take no part in "
        "paired tests and loss curves."
    )


def _skipped(f: Finding) -> str:
    name = " with the model ".join(f.values["framework"].split(" ", 1))
    framework, _, model = name.partition(" with the model ")
    title = title_of(framework) + (f" with {model}" if model else "")
    return f"**Skipped**: {escape(title)}: {escape(shorten(f.values['reason']))}."


def _busy(f: Finding) -> str:
    return (
        f"**Machine busy** when the run began (load average {f.values['load']:.2f} on "
        f"{plural(f.values['cores'], 'hardware thread')}): speeds may be too low and spread too "
        "far."
    )


def _variables(f: Finding) -> str:
    listed = ", ".join(code(f"{name}={value}") for name, value in f.values.items())
    return (
        f"**Environment variables** that may change speeds were set, and reached the frameworks: "
        f"{listed}."
    )


def _mixed(f: Finding) -> str:
    changes = escape("; ".join(f.values["changes"]))
    return (
        f"**Mixed sessions**: parts of the run were made elsewhere ({changes}). Speeds of "
        "different sessions are not compared with each other."
    )


def _uncommitted(f: Finding) -> str:
    return "**Uncommitted changes** in the harness: its commit does not tell which code ran."


SENTENCES: dict[str, Callable[[Finding], str]] = {
    "not identical": _not_identical,
    "test labels differ": _labels,
    "counts disagree": _counts,
    "aurocs disagree": _aurocs,
    "loss is nan": _nan,
    "other computation": _computation,
    "losses drift apart": _drift_apart,
    "failed": _failed,
    "extra missing": _extra,
    "not run": lambda f: f"**Not run yet**: {_where(f)}.",
    "unsteady": _unsteady,
    "drift": _drift,
    "two speeds": _two_speeds,
    "outliers": _outliers,
    "other load": _load,
    "clock": _clock,
    "machine varied": _machine,
    "heat": _heat,
    "swap": _swap,
    "not interleaved": _apart,
    "arrays missing": _lost,
    "skipped": _skipped,
    "machine busy": _busy,
    "variables": _variables,
    "mixed environments": _mixed,
    "uncommitted": _uncommitted,
    "first seeds": _first_seeds,
}
"""By kind of finding."""


def sentence(finding: Finding) -> str:
    """Markdown of one finding."""
    return SENTENCES[finding.kind](finding)


def brief(summary: RunSummary) -> str:
    shown = summary.findings[:MOST_SHOWN]
    more = len(summary.findings) - len(shown)
    rest = f"{plural(more, 'more warning')}: [details.md](details.md#{SECTION.anchor})."
    return paragraphs(bullets(list(map(sentence, shown))), rest if more else "")


def body(summary: RunSummary) -> str:
    return bullets(list(map(sentence, summary.findings)))


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Warnings of noise**: a matrix product before each round, and the kernel's counters of "
        "other work, clock, heat and swap around it: drift (Kendall's tau at p < 0.01 and "
        "Theil-Sen slope above 5 %), two speeds (a mixture of two normal distributions by the "
        "Bayesian information criterion, Ashman's D above 2), outliers (modified z-score above "
        "3.5)."
    ]


SECTION = Section(
    title="What to distrust",
    applies=lambda summary: bool(summary.findings),
    brief=brief,
    body=body,
    terms=terms,
)

"""Start-up cost: the seconds before the first steady epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.run import Workload
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.section import Drawing, Section, drawing, for_workloads, paragraphs
from harness.report.text import code, escape, join, number, plural, table
from harness.results.records import CompileCache, Phases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = {
    "start_s": ("Process start", "#666666"),
    "import_s": ("Import", "#B3B3B3"),
    "build_s": ("Build", "#56B4E9"),
    "first_step_s": ("First step", "#D55E00"),
    "first_predict_s": ("First prediction", "#F0E442"),
}
"""Fields of :class:`Phases`: what they are called, and their colour."""
assert set(PHASES) == set(Phases.model_fields)


def body(each: WorkloadSummary) -> str:
    return paragraphs(
        seconds(each.workload), warm_starts(each.workload), *(f.markdown for f in figures(each))
    )


def seconds(workload: Workload) -> str:
    """One row a variant: the seconds of each phase, medians over the seeds."""
    header = ["Variant", *(f"{name}, s" for name, _ in PHASES.values()), "Together, s"]
    rows = [
        [
            escape(outcome.title),
            *(number(outcome.phase(phase)) for phase in PHASES),
            number(outcome.startup_s),
        ]
        for outcome in workload.finished
    ]
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def warm_starts(workload: Workload) -> str:
    """One row a variant with a warm start: until its first step has ended, cold and warm."""
    rows = []
    for outcome in workload.finished:
        result = next(iter(outcome.trained.values())).result
        if (warm := result.warm_start) is None or result.phases is None:
            continue
        starts = (result.phases, warm.phases)
        rows.append(
            [
                escape(outcome.title),
                *(number(until_first_step(phases)) for phases in starts),
                *(number(phases.first_step_s) for phases in starts),
                join([held(cache) for cache in warm.caches] or ["none"]),
                join([rejected(cache) for cache in warm.caches if cache.rejected] or ["nothing"]),
            ]
        )
    header = ["Variant", "Cold start, s", "Warm start, s", "First step cold, s",
              "First step warm, s", "Caches after the cold start", "Rejected"]  # fmt: skip
    return table(header, rows, align="lrrrrll") if rows else ""


def until_first_step(phases: Phases) -> float:
    return phases.start_s + phases.import_s + phases.build_s + phases.first_step_s


def held(cache: CompileCache) -> str:
    return f"{code(cache.name)}: {plural(cache.files, 'file')}, {cache.bytes / 1e6:.1f} MB"


def rejected(cache: CompileCache) -> str:
    """What the warm start compiled again although the cold one had left it."""
    shown = ", ".join(map(code, cache.rejected[:3])) + ", ..." * (len(cache.rejected) > 3)
    return f"{plural(len(cache.rejected), 'file')} written again: {shown}"


def figures(each: WorkloadSummary) -> list[Drawing]:
    alt = "Seconds of each variant before its first steady epoch"
    return [drawing(each.workload, "startup", alt, lambda: bars(each.workload))]


def bars(workload: Workload) -> Figure:
    """Phase by phase; medians over the seeds."""
    from harness.report import plotting

    outcomes = workload.finished
    figure = plotting.new_figure(1.4 + 0.4 * len(outcomes))
    axes = figure.subplots()
    rows, left = np.arange(len(outcomes)), np.zeros(len(outcomes))
    for name, (label, color) in PHASES.items():
        found = np.array([outcome.phase(name) for outcome in outcomes])
        axes.barh(rows, found, left=left, height=0.6, color=color, label=label.lower())
        left += found
    for row, outcome in enumerate(outcomes):
        plotting.annotate(axes, outcome.startup_s, row, f"{number(outcome.startup_s)} s")
    plotting.rows(axes, [outcome.title for outcome in outcomes])
    axes.set_xlim(0, max(float(left.max()) * 1.14, 1e-9))
    axes.set_xlabel("seconds before the first steady epoch (less is better)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def import_notes(summary: RunSummary) -> list[str]:
    """What importing is, for families where it is more than that."""
    return [
        f"For {escape(join([spec.title for spec in specs]))}, {specs[0].family.import_note}"
        for specs in summary.families.values()
        if specs[0].family.import_note
    ]


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Process start**: until the framework's own process answers, nothing imported yet. "
        "**Import**: importing the framework there and, where it is of another language, starting "
        "that language and loading the packages. **Build**: opening the data, making the model, "
        "loading the weights. **First step**: one training step from cold, compilation included "
        "where a framework compiles; its effect is then undone. **First prediction**: one "
        "evaluation of the validation split from cold. All are medians over the seeds.",
        "**Cold start**: with empty compile caches, as every start is but the warm one. **Warm "
        "start**: a second start with the caches that the cold one has filled, of the first seed, "
        "while nothing else is at work. Both last until the first step has ended. **Rejected**: "
        "files of the caches that the warm start wrote again.",
    ]


_TABLES = for_workloads(
    title="Start-up cost",
    applies=lambda each: bool(each.workload.finished) and each.workload.timed,
    body=body,
    figures=figures,
    intro="These seconds come before the first steady epoch. They are no part of the training "
    "speeds.",
)
SECTION = Section(
    title=_TABLES.title,
    applies=_TABLES.applies,
    body=lambda summary: paragraphs(_TABLES.body(summary), *import_notes(summary)),
    figures=_TABLES.figures,
    terms=terms,
)

"""The report's answer for a terminal: the same verdict and table, from the same analysis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis.metrics import over_seeds, title
from harness.analysis.run import Outcome, title_of
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.sections.answer import answer, trust
from harness.report.sections.results import ratio_cell, unfinished_reason
from harness.report.text import number, plain, score, shorten
from harness.stats.statistics import Estimate

if TYPE_CHECKING:
    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

HEADINGS = {
    "plain": "variant",
    "tuned": "tuned variant",
    "bound": "what this CPU allows",
    "idiom": "not compared",
}
"""By role, over the first column."""


def overview(summary: RunSummary) -> Renderables:
    """For each workload its table and its verdict, then what to do next.

    Only the speed ratio keeps its interval, since that is what people read a difference from; it
    says "not judged" where the report does.
    """
    from rich.console import Group as Renderables
    from rich.text import Text

    shown: list[Table | Text] = []
    for each in summary.workloads:
        verdict = _verdict(each)
        first = [verdict.pop("Diverged")] if "Diverged" in verdict else []
        shown += [*first, *_tables(each), *_unfinished(each), *verdict.values()]
    for name, reason in summary.run.manifest.skipped.items():
        shown.append(Text(f"{title_of(name)}: skipped: {shorten(reason)}", style="yellow"))
    shown += [_trust(summary), Text(f"next: {next_step(summary)}")]
    return Renderables(*shown)


def next_step(summary: RunSummary) -> str:
    """What a user does next, in one line."""
    folder = summary.run.folder.path
    if any(outcome.missing for w in summary.run.workloads for outcome in w.outcomes):
        return f"bench run --resume --out {folder} trains what is missing"
    if summary.certificate is None:
        return f"bench parity --run {folder} checks in float64 that all compute the same"
    return (
        f"read {folder / 'report.md'}, or compare it with another run: bench compare {folder} RUN"
    )


def _verdict(each: WorkloadSummary) -> dict[str, Text]:
    """Sentences of the answer by what they are about."""
    from rich.text import Text

    return {
        name: Text.assemble((f"{name}: ", "bold"), plain(markdown))
        for name, markdown in answer(each).items()
        if markdown
    }


def _trust(summary: RunSummary) -> Text:
    from rich.text import Text

    said = plain(trust(summary)).replace(" below", "")
    where = f"; see {Path(summary.run.folder.path) / 'report.md'}" if summary.findings else ""
    return Text.assemble(("Trust: ", "bold"), f"{said.rstrip('.')}{where}")


def _unfinished(each: WorkloadSummary) -> list[Text]:
    from rich.text import Text

    found = []
    for outcome in each.workload.outcomes:
        planned = len(outcome.trained) + len(outcome.failed) + len(outcome.missing)
        if len(outcome.trained) < planned:
            counted = f"{len(outcome.trained)} of {planned} trained"
            reason = unfinished_reason(outcome)
            found.append(Text(f"{outcome.title}: {counted}; {reason}", style="red"))
    return found


def _tables(each: WorkloadSummary) -> list[Table]:
    """One table a role, what is ranked first."""
    by_role: dict[str, list[Outcome]] = {}
    for outcome in each.workload.by_role:
        by_role.setdefault(outcome.role, []).append(outcome)
    found: list[Table] = []
    for role, outcomes in by_role.items():
        ranked = role == each.workload.ranked_role
        heading = "variant" if ranked else HEADINGS[role]
        found.append(_table(each, heading, outcomes, first=not found))
    return found


def _table(
    each: WorkloadSummary, heading: str, outcomes: Sequence[Outcome], *, first: bool
) -> Table:
    """One row a variant."""
    from rich.table import Table
    from rich.text import Text

    workload = each.workload
    table = Table(
        title=Text(workload.title) if first else None,
        title_justify="left",
        title_style="bold",
        box=None,  # every column counts: the longest names just fit into 80
        padding=(0, 2, 0, 0),
    )
    table.add_column(heading, overflow="fold")
    # The share of images with all labels correct says little, and the width is scarce.
    multilabel = workload.entry.task == "multilabel"
    chosen = [m for m in each.headline_metrics if not (multilabel and m.name == "accuracy")]
    names = [title(workload, metric).removeprefix("test ") for metric in chosen]
    times = ("images/s", "speed ratio", "compilation") if workload.timed else ()
    for name in (*names, *times):
        table.add_column(name, justify="right", no_wrap=name != "speed ratio")
    for outcome in outcomes:
        if not outcome.trained:
            table.add_row(Text(outcome.title), Text("none", style="red"))
            continue
        scores = []
        for metric in chosen:
            found = over_seeds(outcome, metric)
            alone = None if found is None else Estimate(found.value, float("nan"), float("nan"))
            scores.append(score(alone, metric.display, outcome.test_examples))
        table.add_row(
            Text(outcome.title),
            *scores,
            *(_times(each, outcome) if workload.timed else []),
        )
    if workload.timed and any(outcome.trained and outcome.other_work for outcome in outcomes):
        table.caption = "* measured beside other work"
        table.caption_justify = "left"
    return table


def _times(each: WorkloadSummary, outcome: Outcome) -> list[str]:
    """Speed, its ratio, and compilation."""
    batch_size = each.run.manifest.experiment.training.batch_size
    return [
        number(outcome.speed.value) + ("*" if outcome.other_work else ""),
        plain(ratio_cell(each.speeds[outcome.framework], each.workload)),
        f"{number(outcome.compilation_s(batch_size))} s",
    ]

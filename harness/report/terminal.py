"""The headline of a report for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.results.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

    from harness.analysis.comparison import Group, Outcome


def headline_table(folder: RunFolder) -> Renderables:
    """The report's headline for each network and data set, without most of its intervals.

    Plain variants first; tuned ones follow with their gain over their plain form, then bounds.
    Only the speed ratio keeps its interval, since that is what people read a difference from; it
    says "not judged" where the report does.

    Raises:
        BenchError: damaged files, or no results yet.
    """
    from rich.console import Group as Renderables
    from rich.text import Text

    from harness.analysis.comparison import Run, title_of
    from harness.report.tables import ratio_cell, unfinished_reason
    from harness.report.text import shorten

    run = Run.read(folder)
    batch_size = folder.manifest.experiment.training.batch_size
    shown: list[Table | Text] = []
    for result in folder.results():
        if result.status == "diverged":
            shown.append(Text(f"{result.cell} diverged and is not ranked", style="bold red"))
    for group in run.groups:
        own: dict[str, list[Outcome]] = {}
        for outcome in group.outcomes:
            own.setdefault(outcome.role, []).append(outcome)
        ranked = own.pop(group.ranked_role, [])
        tuned, bound = own.get("tuned", []), own.get("bound", [])
        fastest = group.ranked[0] if group.ranked else None
        ratios = (
            dict.fromkeys((o.framework for o in ranked), group.reference)
            | {o.framework: group.base_of(o) for o in tuned}
            | dict.fromkeys((o.framework for o in bound), fastest)
        )
        parts = (
            (Text(group.title), "framework", "speed ratio", ranked, group.speed_comparisons),
            (None, "tuned variant", "gain", tuned, len(tuned)),
            (None, "what this CPU allows", "speed ratio", bound, len(bound)),
            (None, "not compared", "speed ratio", own.get("idiom", []), 1),
        )
        for title, heading, ratio, outcomes, comparisons in parts:
            if outcomes:
                cells = {
                    o.framework: ratio_cell(o, ratios.get(o.framework), comparisons=comparisons)
                    for o in outcomes
                    if o.trained
                }
                shown.append(_table(group, title, (heading, ratio), outcomes, cells, batch_size))
        for outcome in group.outcomes:
            planned = len(outcome.trained) + len(outcome.failed) + len(outcome.missing)
            if len(outcome.trained) < planned:
                counted = f"{len(outcome.trained)} of {planned} trained"
                reason = unfinished_reason(outcome)
                shown.append(Text(f"{outcome.title}: {counted}; {reason}", style="red"))
    for name, reason in run.manifest.skipped.items():
        shown.append(Text(f"{title_of(name)}: skipped: {shorten(reason)}", style="yellow"))
    return Renderables(*shown)


def _table(
    group: Group,
    title: Text | None,
    headings: tuple[str, str],
    outcomes: Sequence[Outcome],
    ratios: Mapping[str, str],
    batch_size: int,
) -> Table:
    """One row a variant; ``ratios`` are the cells of its ratio of speeds."""
    from rich.table import Table
    from rich.text import Text

    from harness.report import labels
    from harness.report.text import number, percent, percent_places

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,  # every column counts: the longest names just fit into 80
        padding=(0, 2, 0, 0),
    )
    heading, ratio = headings
    table.add_column(heading, overflow="fold")
    scores = [labels.name_of(group)] if group.labels else []
    if group.entry.task != "multilabel":  # there it says little, and the width is scarce
        scores.append("accuracy")
    for name in (*scores, "images/s", ratio, "compilation"):
        table.add_column(name, justify="right", no_wrap=name != ratio)
    for outcome in outcomes:
        if not outcome.trained:
            table.add_row(Text(outcome.title), Text("none", style="red"))
            continue
        auroc, accuracy = outcome.mean_auroc_alone, outcome.accuracy.value
        shares = {
            labels.name_of(group): labels.UNDEFINED if math.isnan(auroc) else f"{auroc:.3f}",
            "accuracy": percent(accuracy, percent_places(outcome.test_examples)),
        }
        table.add_row(
            Text(outcome.title),
            *(shares[name] for name in scores),
            number(outcome.speed.value) + ("*" if outcome.other_work else ""),
            ratios[outcome.framework],
            f"{number(outcome.compilation_s(batch_size))} s",
        )
    if any(outcome.trained and outcome.other_work for outcome in outcomes):
        table.caption = "* measured beside other work"
        table.caption_justify = "left"
    return table

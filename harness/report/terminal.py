"""The headline of a report for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.results.folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Group as Renderables


def headline_table(folder: RunFolder) -> Renderables:
    """One table for each network and data set: the report's headline without its intervals.

    Only the speed ratio keeps its own, since that is what people read a difference from.

    Raises:
        BenchError: damaged files, or no results yet.
    """
    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

    from harness.report import labels
    from harness.report.comparison import Run, title_of
    from harness.report.tables import ratio_cell, unfinished_reason
    from harness.report.text import number, percent, percent_places, shorten

    run = Run.read(folder)
    shown: list[Table | Text] = []
    for result in folder.results():
        if result.status == "diverged":
            shown.append(Text(f"{result.cell} diverged and is not ranked", style="bold red"))
    for group in run.groups:
        table = Table(
            title=Text(group.title),
            title_justify="left",
            title_style="bold",
            box=None,  # every column counts: the longest names just fit into 80
            padding=(0, 2, 0, 0),
        )
        table.add_column("framework", overflow="fold")
        scores = [labels.name_of(group)] if group.labels else []
        if group.entry.task != "multilabel":  # there it says little, and the width is scarce
            scores.append("accuracy")
        for name in (*scores, "images/s", "speed ratio", "first step"):
            table.add_column(name, justify="right", no_wrap=True)
        notes: list[Text] = []
        for outcome in group.outcomes:
            planned = len(outcome.trained) + len(outcome.failed) + len(outcome.missing)
            if not outcome.trained:
                table.add_row(Text(outcome.title), Text("none", style="red"))
            else:
                auroc, accuracy = outcome.mean_auroc_alone, outcome.accuracy.value
                shares = {
                    labels.name_of(group): labels.UNDEFINED
                    if math.isnan(auroc)
                    else f"{auroc:.3f}",
                    "accuracy": percent(accuracy, percent_places(outcome.test_examples)),
                }
                table.add_row(
                    Text(outcome.title),
                    *(shares[name] for name in scores),
                    number(outcome.speed.value),
                    ratio_cell(outcome, group.reference),
                    f"{number(outcome.phase('first_step_s'))} s",
                )
            if len(outcome.trained) < planned:
                counted = f"{len(outcome.trained)} of {planned} trained"
                reason = unfinished_reason(outcome)
                notes.append(Text(f"{outcome.title}: {counted}; {reason}", style="red"))
        shown += [table, *notes]
    for name, reason in run.manifest.skipped.items():
        shown.append(Text(f"{title_of(name)}: skipped: {shorten(reason)}", style="yellow"))
    return Renderables(*shown)

"""The headline of a report for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.results.folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Group as Renderables


def headline_table(folder: RunFolder) -> Renderables:
    """One table for each network and data set: the numbers of the report's headline.

    Raises:
        BenchError: damaged files, or no results yet.
    """
    from rich.console import Group as Renderables
    from rich.table import Table
    from rich.text import Text

    from harness.report import tables
    from harness.report.comparison import Run, title_of
    from harness.report.text import number, percent_interval, percent_places, shorten, speed

    run = Run.read(folder)
    shown = []
    for group in run.groups:
        table = Table(title=Text(group.title), title_justify="left", title_style="bold")
        reference = group.reference
        table.add_column("framework")
        for name in ("test accuracy", "images/s", "speed ratio", "first step", "peak memory"):
            table.add_column(name, justify="right")
        for outcome in group.outcomes:
            title = Text(outcome.title)
            if not outcome.trained:
                table.add_row(title, Text(tables.unfinished_reason(outcome), style="red"))
                continue
            lost = len(outcome.failed) + len(outcome.missing)
            if lost:
                title.append(f" ({lost} of {lost + len(outcome.trained)} seeds missing)", "red")
            table.add_row(
                title,
                percent_interval(outcome.accuracy, percent_places(outcome.test_examples)),
                speed(outcome.speed),
                tables.ratio_cell(outcome, reference),
                f"{number(outcome.phase('first_step_s'))} s",
                f"{outcome.peak_mib:,.0f} MiB",
            )
        for name, reason in run.manifest.skipped.items():
            table.add_row(Text(title_of(name)), Text(f"skipped: {shorten(reason)}", style="yellow"))
        shown.append(table)
    return Renderables(*shown)

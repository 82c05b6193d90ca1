"""``bench report``: render the report of a run again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> None:
    """Render the report of the run in DIR again, from its results alone."""
    from rich.markup import escape

    from harness.analysis.summary import summarise
    from harness.console import terminal
    from harness.report.markdown import write
    from harness.report.terminal import overview

    summary = summarise(directory)
    path = write(summary)
    terminal.print(escape(str(path)))
    terminal.print(overview(summary))

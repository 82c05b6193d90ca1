"""``bench report``: render the report of a run again."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> None:
    """Render the report of the run in DIR again, from its results alone."""
    from rich.markup import escape

    from harness.console import terminal
    from harness.report.render import render
    from harness.report.terminal import headline_table
    from harness.results.folder import RunFolder

    path = render(directory)
    terminal.print(headline_table(RunFolder.open(directory)))
    terminal.print(escape(str(path)))

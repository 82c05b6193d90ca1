"""``bench doctor``: which frameworks can run here, where they are, and what mends the others."""

from __future__ import annotations

import click

from harness.cli.run import _LIST
from harness.console import terminal


@click.command()
@click.option("--frameworks", **_LIST, help="Backends to look at [default: all].")
def doctor(frameworks: list[str] | None) -> None:
    """Say of every framework whether it is ready, its versions, where it is, and how to mend it.

    Exit code 1 when one that was named is not ready; without names, when none is.
    """
    from rich.markup import escape
    from rich.table import Table

    from harness.backends.registry import BACKENDS, find_backend

    specs = [find_backend(name) for name in frameworks] if frameworks else list(BACKENDS.values())
    table = Table(box=None, pad_edge=False)
    for heading in ("framework", "ready", "versions", "where", "why not", "to mend"):
        table.add_column(heading, overflow="fold")
    needs = []
    for spec in specs:
        need = spec.need()
        versions = ", ".join(f"{name} {version}" for name, version in spec.versions().items())
        why, mend = (need.why, need.mend) if need else ("", "")
        cells = [versions, spec.location(), why, mend]
        table.add_row(spec.name, "no" if need else "yes", *map(escape, cells))
        needs.append(need)
    terminal.print_table(table)
    if any(needs) if frameworks else all(needs):
        raise click.exceptions.Exit(1)

"""``bench doctor``: which frameworks load here, where they are, and what fixes the others."""

from __future__ import annotations

import click

from harness.cli.options import LIST
from harness.console import terminal


@click.command()
@click.option("--frameworks", **LIST, help="Backends to check [default: all].")
def doctor(frameworks: list[str] | None) -> None:
    """Report for every framework whether it loads, its versions, where it is, and how to fix it.

    Each is loaded in a child process, as in a run; one that compiles its packages takes minutes.
    Exit code 1 when one that was named is not ready; without names, when none is.
    """
    from rich.markup import escape
    from rich.table import Table

    from harness.backends.spec import MissingRequirement
    from harness.execution.loading import requirement_to_load
    from harness.plugins import backends, find_backend

    specs = [find_backend(name) for name in frameworks or ()] or list(backends().values())
    table = Table(box=None, pad_edge=False)
    for heading in ("framework", "ready", "versions", "where", "why not", "to fix"):
        table.add_column(heading, overflow="fold")
    needs = []
    loaded: dict[str, MissingRequirement | None] = {}  # variants of one framework load the same
    for spec in specs:
        need = spec.missing_requirement()
        if need is None:
            if spec.install not in loaded:
                terminal.note(f"loading {spec.name} ...")
                loaded[spec.install] = requirement_to_load(spec)
            need = loaded[spec.install]
        versions = ", ".join(f"{name} {version}" for name, version in spec.versions().items())
        why, fix = (need.why, need.fix) if need else ("", "")
        cells = [versions, spec.location(), why, fix]
        table.add_row(spec.name, "no" if need else "yes", *map(escape, cells))
        needs.append(need)
    terminal.print_table(table)
    if any(needs) if frameworks else all(needs):
        raise click.exceptions.Exit(1)

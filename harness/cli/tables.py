"""Tables that verbs print: aligned columns for people, ``--json`` for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def show(rows: Sequence[Mapping[str, Any]], headings: Sequence[str], *, as_json: bool) -> None:
    """Print ``rows``, which have a value for each of ``headings``.

    As JSON, an array of objects with the headings as keys (words joined by underscores); as a
    table, with columns of numbers to the right and None as nothing.
    """
    if as_json:
        found = [{head.replace(" ", "_"): row[head] for head in headings} for row in rows]
        click.echo(json.dumps(found, indent=2, default=str))
        return
    from rich.table import Table
    from rich.text import Text

    from harness.console import terminal

    table = Table(box=None, pad_edge=False)
    for head in headings:
        numbers = bool(rows) and all(type(row[head]) in (int, float) for row in rows)
        table.add_column(head, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row[head])) for head in headings))
    terminal.print_table(table)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

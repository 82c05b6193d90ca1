"""Tables that verbs print: aligned columns for people, ``--json`` for programs."""

from __future__ import annotations

import json
import math
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
        show_json([{head.replace(" ", "_"): row[head] for head in headings} for row in rows])
        return
    numbers = [
        bool(rows) and all(type(row[head]) in (int, float) for row in rows) for head in headings
    ]
    print_cells(headings, [[_shown(row[head]) for head in headings] for row in rows], numbers)


def print_cells(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> None:
    """Print a table, columns of ``numbers`` to the right.

    On a terminal that is too narrow for it each row becomes a paragraph: the first cell, and below
    it the others by their headings.
    """
    from rich.table import Table
    from rich.text import Text

    from harness.console import terminal

    table = Table(box=None, pad_edge=False)
    for head, is_number in zip(headings, numbers, strict=True):
        table.add_column(head, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    out = terminal.out
    natural = out.measure(table, options=out.options.update(max_width=10_000)).maximum
    if not out.is_terminal or natural <= out.width:
        terminal.print_table(table)
        return
    for first, *others in rows:
        terminal.print(Text(first, style="bold", overflow="fold", no_wrap=False))
        body = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
        body.add_column(no_wrap=True)
        body.add_column(overflow="fold")
        for head, cell in zip(headings[1:], others, strict=True):
            if cell:
                body.add_row(f"  {head}", Text(cell))
        terminal.print(body)


def show_json(data: object) -> None:
    """Print ``data`` as strict JSON: a number that is not finite becomes null."""
    click.echo(json.dumps(_finite(data), indent=2, default=str, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

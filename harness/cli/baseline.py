"""``bench baseline``: store what runs reached, and show what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.results.baseline import Bounds


@click.group()
def baseline() -> None:
    """Store what finished runs reached, for `bench check`; show what is stored."""


@baseline.command()
@click.argument(
    "directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--baseline",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="File of baselines; made where there is none.",
)
@click.option("--replace", is_flag=True, help="Forget what is stored of the rows in these runs.")
def update(directories: tuple[Path, ...], path: Path, replace: bool) -> None:
    """Take the runs in RUN... into a file of baselines; rows they do not have stay as they are.

    Seeds and runs add up: several runs, made at different times, tell how much speed varies from
    run to run.
    """
    from harness.console import terminal
    from harness.results.baseline import baselines_of, merge, read_baselines, write_baselines
    from harness.results.folder import RunFolder

    folders = [RunFolder.open(directory) for directory in directories]
    new = [found for folder in folders for found in baselines_of(folder)]
    keys = {each.key for each in new}
    kept = read_baselines(path) if path.exists() else []
    if replace:
        kept = [each for each in kept if each.key not in keys]
    merged = merge([*kept, *new])
    write_baselines(path, merged)
    for each in merged:
        if each.key in keys and not each.speed:
            terminal.note(f"{'/'.join(each.key)}: no speed, rounds were too few")
    terminal.note(f"{path}: {len(keys)} rows updated, {len(merged)} in all")


@baseline.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def show(path: Path) -> None:
    """Show the rows of FILE, and between which bounds one more training should come out."""
    from rich.table import Table
    from rich.text import Text

    from harness.console import terminal
    from harness.results.baseline import auroc_bounds, bounds, read_baselines

    table = Table(box=None, pad_edge=False)
    for heading in ("framework", "model", "data set"):
        table.add_column(heading, overflow="fold")
    for heading in ("seeds", "accuracy", "AUROC", "images/GFLOP", "runs", "places"):
        table.add_column(heading, justify="right")
    for stored in read_baselines(path):
        reached = bounds(stored, seeds=1)
        area = auroc_bounds(stored, seeds=1) if stored.auroc else None
        speeds = [each.images_per_gflop for each in stored.speed]
        table.add_row(
            *map(Text, stored.key),
            str(len(stored.correct)),
            _share(reached),
            _share(area) if area else "",
            f"{min(speeds):.3g} to {max(speeds):.3g}" if speeds else "",
            str(len(speeds)) if speeds else "",
            str(len({each.place for each in stored.speed})) if speeds else "",
        )
    terminal.print_table(table)


def _share(bounds: Bounds) -> str:
    """Bounds of what lies between 0 and 1; few seeds let them reach beyond."""
    low, high = max(0.0, bounds.low), min(1.0, bounds.high)
    return f"{bounds.mean:.4f} ({low:.4f} to {high:.4f})"

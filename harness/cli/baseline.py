"""``bench baseline``: store what runs reached, and show what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.tables import JSON
from harness.cli.tables import show as show_table

if TYPE_CHECKING:
    from harness.analysis.baseline import Bounds

HEADINGS = ["framework", "model", "data set", "seeds", "accuracy", "AUROC", "images/GFLOP", "runs",
            "starts", "machines"]  # fmt: skip


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
    help="File of baselines; created where there is none.",
)
@click.option(
    "--replace", is_flag=True, help="Forget what is stored of the variants in these runs."
)
@click.option(
    "--accept-disturbed",
    is_flag=True,
    help="Store speeds as well that were measured beside other work.",
)
def update(
    directories: tuple[Path, ...], path: Path, replace: bool, accept_disturbed: bool
) -> None:
    """Store the runs in RUN... in a file of baselines; variants they do not have stay as they are.

    Seeds, starts and runs add up: several fresh starts (--sessions of `bench run`, or seeds) show
    how much speed varies from start to start. A speed measured while other work used more than a
    quarter of the cores is not stored.
    """
    from harness.analysis.baseline import (
        baselines_of,
        merge,
        read_baselines,
        speed_in,
        write_baselines,
    )
    from harness.console import terminal
    from harness.results.folder import RunFolder

    folders = [RunFolder.open(directory) for directory in directories]
    new = [
        found
        for folder in folders
        for found in baselines_of(folder, accept_disturbed=accept_disturbed)
    ]
    keys = {each.key for each in new}
    kept = read_baselines(path) if path.exists() else []
    if replace:
        kept = [each for each in kept if each.key not in keys]
    merged = merge([*kept, *new])
    write_baselines(path, merged)
    for folder in folders:
        for key in dict.fromkeys((c.framework, c.model, c.dataset) for c in folder.manifest.cells):
            speed = speed_in(folder, key)
            if speed is None:
                terminal.note(f"{'/'.join(key)}: no speed, rounds were too few")
            elif speed.doubt and not accept_disturbed:
                terminal.warn(
                    f"{'/'.join(key)}: no speed stored, because {speed.doubt}; measure again, or "
                    "--accept-disturbed stores it"
                )
    terminal.note(f"{path}: {len(keys)} variants updated, {len(merged)} in all")


@baseline.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@JSON
def show(path: Path, as_json: bool) -> None:
    """Show the variants of FILE, and the bounds within which one more training is expected."""
    from harness.analysis.baseline import auroc_bounds, bounds, read_baselines

    rows = []
    for stored in read_baselines(path):
        speeds = [each.images_per_gflop for each in stored.speed]
        rows.append(
            {
                **dict(zip(("framework", "model", "data set"), stored.key, strict=True)),
                "seeds": len(stored.correct),
                "accuracy": _share(bounds(stored, seeds=1)),
                "AUROC": _share(auroc_bounds(stored, seeds=1)) if stored.auroc else None,
                "images/GFLOP": f"{min(speeds):.3g} to {max(speeds):.3g}" if speeds else None,
                "runs": len(speeds) or None,
                "starts": sum(len(each.speed.logs) for each in stored.speed) or None,
                "machines": len({each.machine for each in stored.speed}) or None,
            }
        )
    show_table(rows, HEADINGS, as_json=as_json)


def _share(bounds: Bounds) -> str:
    """Bounds of what lies between 0 and 1; few seeds let them reach beyond."""
    low, high = max(0.0, bounds.low), min(1.0, bounds.high)
    return f"{bounds.mean:.4f} ({low:.4f} to {high:.4f})"

"""``bench weights``: the trained weights of a run, as files that any framework can read."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def weights() -> None:
    """Copy trained weights out of a run; `bench evaluate` judges them in any framework."""


@weights.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("cell")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write [default: CELL.weights.h5 in the current folder].",
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def export(run: Path, cell: str, out: Path | None, force: bool) -> None:
    """Write the trained weights of CELL of the run in folder RUN to a weight file.

    A cell is called as its files are: bench weights export runs/mine torch-lenet5-digits-s0
    """
    from harness.evaluation import check_out, export_weights
    from harness.results.folder import RunFolder

    out = out or Path(f"{cell}.weights.h5")
    check_out(out, force=force)
    export_weights(RunFolder.open(run), cell, out)
    click.echo(out)

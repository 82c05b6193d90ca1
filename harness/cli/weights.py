"""``bench weights``: trained weights as files that any framework can read."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def weights() -> None:
    """Weight files: out of a run, or from elsewhere; every framework reads them alike."""


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

    A cell is called as its files are: FRAMEWORK-lenet5-digits-s0, for example.
    """
    from harness.execution.evaluation import check_out, export_weights
    from harness.results.folder import RunFolder

    out = out or Path(f"{cell}.weights.h5")
    check_out(out, force=force)
    export_weights(RunFolder.open(run), cell, out)
    click.echo(out)


@weights.command("import")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, metavar="M", help="A model that others have too, as resnet18."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to write [default: FILE's name with .weights.h5, in the current folder].",
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def import_(source: Path, model: str, out: Path | None, force: bool) -> None:
    """Make a weight file of weights that somebody else trained.

    FILE is .safetensors, or what one of the frameworks saves (read without running any code in
    it). Training starts from the result with: bench run --initial-weights RESULT
    """
    from harness.console import terminal
    from harness.execution.evaluation import check_out
    from harness.interchange import import_weights

    out = out or Path(f"{source.stem}.weights.h5")
    check_out(out, force=force)
    found = import_weights(source, model, out)
    terminal.note(
        f"{found.model}: {found.arrays} arrays, {found.numbers:,} numbers; "
        f"{found.channels} channels, {found.outputs} outputs"
    )
    click.echo(out)

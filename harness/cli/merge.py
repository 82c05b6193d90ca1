"""``bench merge``: the shards of an experiment, run on several machines, as one run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="The shards of an experiment: `bench run --shard I/N`.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the merged run."
)
def merge(runs: tuple[Path, ...], out: Path) -> None:
    """Merge the runs of one experiment in the folders RUN..., as of its shards, into one run.

    Refuses where experiment, contents of the data, initial weights or version were not the same,
    and where two runs have different results of a cell.
    """
    from harness.analysis.summary import summarise
    from harness.console import terminal
    from harness.report.markdown import write
    from harness.report.terminal import overview
    from harness.results.merge import merge as merge_runs

    folder = merge_runs(runs, out)
    summary = summarise(out)
    report = write(summary)
    terminal.print(overview(summary))
    planned = folder.manifest.cells
    if missing := [cell for cell in planned if folder.read_result(cell) is None]:
        terminal.warn(
            f"{len(missing)} of {len(planned)} cells have no result: merge the run that has them "
            "too, or train them with bench run --resume"
        )
    terminal.note(f"report: {report}")

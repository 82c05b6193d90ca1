"""``bench reproduce``: run an experiment again and say what came out equal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.tables import JSON, show

if TYPE_CHECKING:
    from harness.analysis.reproduce import ArrayAgreement, CellReproduction

HEADINGS = ["framework", "model", "dataset", "seed", "reproduced", "reasons", "losses", "logits",
            "accuracy", "speed ratio"]  # fmt: skip
"""Of ``--json``."""


@click.command(
    epilog="Bitwise equality is promised by no framework on more than one thread, where sums are "
    "taken in any order; what each kept is reported."
)
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the new run [default: runs/ and the time].",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@click.option("--resume", is_flag=True, help="Resume the reproduction in --out.")
@JSON
def reproduce(
    directory: Path, out: Path | None, data_dir: Path | None, resume: bool, as_json: bool
) -> None:
    """Run the experiment of the run in RUN again, on the same data, and compare every cell.

    Exit code 1 when a cell came out differently: other inputs, another first loss, an accuracy or a
    speed that differs by more than chance and run-to-run variation explain.
    """
    from harness.cli.stopping import reporting_early
    from harness.errors import BenchError
    from harness.paths import new_run_folder

    if resume and out is None:
        raise BenchError("--resume continues the run in --out: name its folder with --out DIR")
    folder = out or new_run_folder()
    with reporting_early(folder):
        _reproduce(directory, folder, data_dir, resume, as_json)


def _reproduce(
    directory: Path, folder: Path, data_dir: Path | None, resume: bool, as_json: bool
) -> None:
    from rich.text import Text

    from harness import paths
    from harness.analysis.reproduce import compare_cells, experiment_of, write
    from harness.cli.progress import watched
    from harness.console import terminal
    from harness.execution.runner import prepare
    from harness.report.markdown import render
    from harness.results.folder import RunFolder

    original, data = RunFolder.open(directory), paths.data_dir(data_dir)
    experiment = experiment_of(original, data)
    comparison = prepare(
        experiment, out=folder, data_dir=data, resume=resume, shard=original.manifest.shard
    )
    watched(comparison)
    render(folder)
    found = compare_cells(original, comparison.folder)
    path = write(comparison.folder, found)
    if as_json:
        show(list(map(_row, found.cells)), HEADINGS, as_json=True)
    else:
        for cell in found.cells:
            terminal.print(Text(_line(cell)))
    if found.threads > 1:
        terminal.note(
            f"on {found.threads} threads sums are taken in any order: bitwise equality is promised "
            "by runs with --threads 1 only"
        )
    for difference in found.differences:
        terminal.note(f"then and now differ in {difference}")
    terminal.note(f"{path}")
    if not found.reproduced:
        terminal.error(
            f"{sum(bool(cell.reasons) for cell in found.cells)} of {len(found.cells)} cells "
            "not reproduced"
        )
        raise click.exceptions.Exit(1)


def _row(found: CellReproduction) -> dict[str, Any]:
    speed = found.speed
    return {
        **found.cell.model_dump(),
        "reproduced": not found.reasons,
        "reasons": list(found.reasons),
        "losses": found.losses and found.losses.status,
        "logits": found.logits and found.logits.status,
        "accuracy": found.accuracy,
        "speed ratio": speed and [speed.value, speed.low, speed.high],
    }


def _line(found: CellReproduction) -> str:
    """What is said of one cell."""
    from harness.report.text import ratio
    from harness.stats.statistics import Estimate

    word = "NOT reproduced" if found.reasons else "reproduced"
    said = list(found.reasons)
    if found.losses and found.logits and found.accuracy and found.speed:
        then, now = found.accuracy
        speed = found.speed
        interval = (speed.low or float("nan"), speed.high or float("nan"))
        said += [
            f"{_losses(found.losses)} {_agreement(found.losses)}",
            f"logits {_agreement(found.logits)}",
            f"accuracy {now:.4f}" + ("" if now == then else f" (then {then:.4f})"),
            f"speed {ratio(Estimate(speed.value, *interval))}, {speed.verdict}",
        ]
    return f"{word}: {found.cell}: {'; '.join(said)}"


def _losses(found: ArrayAgreement) -> str:
    return "losses" if found.status == "bitwise equal" else "first losses"


def _agreement(found: ArrayAgreement) -> str:
    if found.status == "bitwise equal" or found.largest is None:
        return found.status
    return f"{found.status} ({found.largest:.1e})"

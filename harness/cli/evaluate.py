"""``bench evaluate``: trained weights, evaluated in any framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import LIST
from harness.cli.tables import JSON, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.table import Table

    from harness.execution.evaluation import Evaluated, Request

HEADINGS = ["framework", "model", "loss", "correct", "examples", "accuracy", "auroc",
            "auroc by class", "seconds", "logits off by"]  # fmt: skip
"""Of ``--json``."""


@click.command(epilog="Weights out of a run: `bench weights export --help`.")
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="Weight file to evaluate."
)
@click.option("--framework", "frameworks", required=True, **LIST, help="Frameworks that compute.")
@click.option("--dataset", required=True, metavar="NAME|FILE", help="Data set, or its HDF5 file.")
@click.option("--model", metavar="M", help="Network [default: what the weight file says].")
@click.option(
    "--split",
    default="test",
    metavar="test|val|train",
    help="Images to evaluate on [default: test].",
)
@click.option("--threads", metavar="N", help="CPU threads of each framework [default: all].")
@click.option(
    "--precision", default="float32", metavar="float32|float64", help="[default: float32]"
)
@click.option("--out", type=click.Path(path_type=Path), help="HDF5 file for logits and labels.")
@click.option("--force", is_flag=True, help="Replace the file in --out where it exists.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@JSON
def evaluate(
    weights: Path,
    out: Path | None,
    force: bool,
    data_dir: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Predict a split with trained weights, in one framework or several, and score it.

    With several, logits are compared with those of the first. Exit code 1 when a framework fails.
    """
    from harness import paths
    from harness.console import terminal
    from harness.errors import BenchError, WorkerError
    from harness.execution.evaluation import check_out, prepare, scores, write_logits

    if out is not None:
        if out.exists() and weights.exists() and out.samefile(weights):
            raise BenchError(f"--out {out} is the weight file itself: choose another name")
        check_out(out, force=force)
    request = prepare(weights, data_dir=paths.data_dir(data_dir), **options)
    if request.remark is not None:
        terminal.note(f"{weights}: {request.remark}")
    try:
        with terminal.err.status("predicting"):  # shown on terminals only
            found = list(scores(request))
    except WorkerError as error:
        terminal.error(" ".join(str(error).split()))
        raise click.exceptions.Exit(1) from None
    if as_json:
        show([_row(request, score, found[0]) for score in found], HEADINGS, as_json=True)
    else:
        for table in _tables(request, found):
            terminal.print(table)
    if out is not None:
        write_logits(out, request, found)
        terminal.note(f"logits: {out}")


def _row(request: Request, score: Evaluated, first: Evaluated) -> dict[str, Any]:
    from harness.execution.evaluation import largest_difference

    found = score.evaluation
    return {
        "framework": score.framework,
        "model": request.task.model,
        "loss": found.loss,
        "correct": found.correct,
        "examples": found.examples,
        "accuracy": found.accuracy,
        "auroc": found.mean_auroc,
        "auroc by class": list(found.auroc),
        "seconds": score.seconds,
        "logits off by": float(largest_difference(score.logits, first.logits)),
    }


def _tables(request: Request, found: list[Evaluated]) -> Iterator[Table]:
    """One row a framework; then the AUROC of each label, where there are several."""
    from rich.markup import escape

    from harness.execution.evaluation import largest_difference

    several, areas = len(found) > 1, found[0].evaluation.auroc
    headings = ["framework", "model", "loss", "correct", "accuracy"]
    headings += ["AUROC"] * bool(areas) + ["seconds", "images/s"] + ["logits off by"] * several
    rows = []
    for score in found:
        judged = score.evaluation
        row = [score.framework, request.task.model, f"{judged.loss:.6f}"]
        row += [f"{judged.correct}/{judged.examples}", f"{judged.accuracy:.4f}"]
        row += [_area(judged.mean_auroc)] * bool(areas)
        row += [f"{score.seconds:.3g}", f"{score.images_per_second:,.0f}"]
        if several:
            off = largest_difference(score.logits, found[0].logits)
            row.append("" if score is found[0] else f"{off:.2g}")
        rows.append(row)
    yield _table(headings, rows)
    if len(areas) > 1:
        columns = [map(_area, score.evaluation.auroc) for score in found]
        names = map(escape, request.classes)
        headings = ["AUROC of", *(score.framework for score in found)]
        yield _table(headings, map(list, zip(names, *columns, strict=True)))


def _table(headings: list[str], rows: Iterable[list[str]]) -> Table:
    from rich.table import Table

    from harness.console import terminal

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        words = heading in ("framework", "model", "AUROC of")
        table.add_column(heading, justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = terminal.out
    if not out.is_terminal:  # nothing is folded for whoever reads a file or a pipe
        table.width = out.measure(table, options=out.options.update(max_width=10_000)).maximum
    return table


def _area(area: float | None) -> str:
    return "undefined" if area is None else f"{area:.6f}"

"""``bench check``: a run against stored baselines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.tables import JSON, show

if TYPE_CHECKING:
    from harness.analysis.gate import VariantCheck

HEADINGS = ["framework", "model", "dataset", "status", "metrics", "speed ratio", "message"]
"""Keys of ``--json``."""


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number, so nothing would ever fail")
    return value


@click.command(epilog="Baselines are stored by `bench baseline update`.")
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    "baseline_path",
    required=True,
    type=click.Path(path_type=Path),
    help="File of baselines.",
)
@click.option("--only", type=click.Choice(["accuracy", "speed"]), help="[default: both]")
@click.option(
    "--max-slowdown",
    type=click.FloatRange(min=1),
    callback=_finite,
    metavar="X",
    help="Factor that passes [default: 1.02].",
)
@click.option("--strict", is_flag=True, help="Fail as well where something could not be checked.")
@JSON
def check(
    directory: Path,
    baseline_path: Path,
    only: str | None,
    max_slowdown: float | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Check that the run in RUN is as accurate and as fast as its baselines.

    One line for each variant, model and data set. Exit code 1 when a training failed, when
    accuracy, AUROC or another gated metric leaves its bounds, or when speed relative to matrix
    products is surely lower by more than --max-slowdown.
    """
    from rich.text import Text

    from harness.analysis import gate
    from harness.analysis.baseline import read_baselines
    from harness.console import terminal
    from harness.report.gates import line
    from harness.results.folder import RunFolder

    found = gate.check(
        RunFolder.open(directory),
        read_baselines(baseline_path),
        accuracy=only != "speed",
        speed=only != "accuracy",
        max_slowdown=max_slowdown or gate.MAX_SLOWDOWN,
    )
    if as_json:
        show([_row(each, line(each, strict=strict)) for each in found], HEADINGS, as_json=True)
    else:
        for each in found:
            terminal.print(Text(line(each, strict=strict)))
    bad = sum(each.status == "failed" or (strict and each.incomplete) for each in found)
    if bad:
        terminal.error(f"{bad} of {len(found)} variants failed")
        raise click.exceptions.Exit(1)


def _row(check: VariantCheck, message: str) -> dict[str, Any]:
    framework, model, dataset = check.key
    ratio = check.speed.ratio if check.speed else None
    return {
        "framework": framework,
        "model": model,
        "dataset": dataset,
        "status": check.status,
        "metrics": {each.metric: each.value for each in check.metrics},
        "speed ratio": None if ratio is None else [ratio.value, ratio.low, ratio.high],
        "message": message,
    }

"""``bench compare``: two runs or more, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import LIST
from harness.cli.tables import print_cells, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.compare import Against, Compared


@click.command(
    epilog="A speed differs only where its 95 % interval, which allows for run-to-run variation, "
    "leaves out 1."
)
@click.argument("base", metavar="A", type=click.Path(path_type=Path))
@click.argument("others", metavar="B...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--variants",
    "--rows",
    "chosen",
    **LIST,
    help="Only these, as FRAMEWORK/MODEL/DATASET; * stands for any.",
)
@click.option("--raw", is_flag=True, help="Do not divide speeds by that of a matrix product.")
@click.option("--anyway", is_flag=True, help="Compare in spite of differences that should not be.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    help="[default: table]",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
def compare(
    base: Path,
    others: tuple[Path, ...],
    chosen: list[str] | None,
    raw: bool,
    anyway: bool,
    form: str,
) -> None:
    """Compare the runs in the folders B... with the run in A: speed and accuracy of every variant.

    Refuses where data, weights, batches, learning rates, settings or threads were not the same.
    """
    from rich.text import Text

    from harness.analysis.compare import compare as compare_runs
    from harness.console import terminal

    compared = compare_runs([base, *others], variants=chosen or (), raw=raw)
    for fault in compared.faults:
        (terminal.warn if anyway else terminal.error)(fault)
    if compared.faults and not anyway:
        terminal.note("these are different experiments; --anyway compares them in spite of that")
        raise click.exceptions.Exit(2)
    for note in compared.notes:
        terminal.note(note)
    if form == "json":
        show_json(_plain(compared))
    elif form == "markdown":
        from harness.report.text import code, escape, table

        header, lines = _cells(compared)
        align = "lll" + "r" * (len(header) - 3)
        runs = "\n".join(f"- {name}: {code(run)}" for name, run in _named(compared))
        body = table(header, [list(map(escape, line)) for line in lines], align=align)
        terminal.print(Text(f"{_heading(compared)}\n\n{runs}\n\n{body}"))
    else:
        header, lines = _cells(compared)
        terminal.print(Text(_heading(compared)))
        for name, run in _named(compared):
            terminal.print(Text(f"{name}: {run}"))
        print_cells(header, lines, [index >= 3 for index in range(len(header))])


def _heading(compared: Compared) -> str:
    if compared.normalised:
        how = "each round divided by the speed of a matrix product just before it"
    else:
        how = "as measured, not corrected for the speed of the machine"
    return (
        f"Training speed over that of A: {how}. Intervals are of 95 %; those of images/s cover "
        "the starts of that run, those of ratios other runs too."
    )


def _named(compared: Compared) -> list[tuple[str, str]]:
    from harness.analysis.compare import letter

    return [
        (letter(index), f"{run.folder.path} ({run.manifest.created})")
        for index, run in enumerate(compared.runs)
    ]


def _cells(compared: Compared) -> tuple[list[str], list[list[str]]]:
    """Header and rows, the last of which is the mean where there are several."""
    from harness.analysis.compare import judge, letter
    from harness.report.text import percent_places, ratio, speed

    with_auroc = any(each.auroc for row in compared.variants for each in row.against)
    names = [letter(index) for index in range(len(compared.runs))]
    header = ["framework", "model", "data set", *(f"{name}, images/s" for name in names)]
    for name in names[1:]:
        header += [f"speed {name}/A", f"accuracy {name}-A"]
        header += [f"AUROC {name}-A"] * with_auroc
    lines = []
    for row in compared.variants:
        line = [row.key.framework, row.key.model, row.key.dataset, *map(speed, row.measured)]
        places = percent_places(row.outcomes[0].test_examples)
        for each in row.against:
            line += [_speed(each), _accuracy(each, places)]
            line += [_auroc(each)] * with_auroc
        lines.append(line)
    means = [compared.mean(index) for index in range(1, len(names))]
    if any(means):
        line = ["geometric mean", "", "", *[""] * len(names)]
        for mean in means:
            line += [f"{ratio(mean)}, {judge(mean)}" if mean else "", *[""] * (1 + with_auroc)]
        lines.append(line)
    return header, lines


def _speed(against: Against) -> str:
    from harness.report.text import ratio

    if against.judgement == "not judged":
        return f"not judged ({against.doubt})"
    return f"{ratio(against.ratio)}, {against.judgement}"


def _accuracy(against: Against, places: int) -> str:
    from harness.report.text import p_value

    found = against.accuracy
    shown = f"{100 * found.value:+.{places}f} points"
    if found.p is not None:
        return f"{shown}, {p_value(found.p)}"
    return f"{shown}, intervals {'apart' if found.significant else 'overlap'}"


def _auroc(against: Against) -> str:
    from harness.report.text import difference_parts

    if against.auroc is None:
        return ""
    value, interval = difference_parts(against.auroc)
    return f"{value} ({interval})" if interval else value


def _plain(compared: Compared) -> dict[str, Any]:
    """As JSON data; what is not known is null."""
    from harness.analysis.compare import letter

    def known(values: Sequence[float] | None) -> dict[str, float] | None:
        if values is None:
            return None
        return dict(zip(("value", "low", "high"), values, strict=True))

    return {
        "runs": [str(run.folder.path) for run in compared.runs],
        "normalised": compared.normalised,
        "not_identical": list(compared.faults),
        "notes": list(compared.notes),
        "rows": [
            {
                "framework": row.key.framework,
                "model": row.key.model,
                "dataset": row.key.dataset,
                "images_per_second": list(map(known, row.measured)),
                "against": [
                    {
                        "run": letter(index),
                        "speed_ratio": known(each.ratio),
                        "verdict": each.judgement,
                        "disturbed_by": each.doubt or None,
                        "accuracy_difference": each.accuracy.value,
                        "accuracy_p": each.accuracy.p,
                        "accuracy_significant": each.accuracy.significant,
                        "auroc_difference": known(each.auroc),
                    }
                    for index, each in enumerate(row.against, start=1)
                ],
            }
            for row in compared.variants
        ],
        "geometric_mean": [known(compared.mean(p)) for p in range(1, len(compared.runs))],
    }

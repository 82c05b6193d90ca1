"""``bench parity``: proof that the frameworks compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import LIST
from harness.cli.tables import JSON, print_cells, show
from harness.console import plural
from harness.parity import QUICK_STEPS, STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.parity.proof import Proof

HEADINGS = ["framework", "model", "data", "stage", "deviation", "tolerance", "where", "agrees",
            "message"]  # fmt: skip
"""Of ``--json``: a row a stage (with ``--each`` an array), then one for each message."""
DISAGREEMENTS = ["framework", "case", "what", "known", "program"]
"""Of ``--random --json``."""
_OF_A_RUN = {
    "models": "--models",
    "dataset": "--dataset",
    "precision": "--precision",
    "optimizer": "--optimizer",
    "lr": "--lr",
    "weight_decay": "--weight-decay",
    "batch_size": "--batch-size",
    "threads": "--threads",
    "data_dir": "--data-dir",
}
"""Options that a run answers by itself."""
_OF_A_DATASET = ("optimizer", "lr", "weight_decay", "batch_size", "data_dir")
"""Options that the standard cases answer by themselves."""


@click.command()
@click.option("--frameworks", **LIST, help="Backends to prove [default: all that are ready].")
@click.option("--models", **LIST, help="Networks [default: lenet5].")
@click.option(
    "--dataset",
    metavar="NAME|FILE",
    help="[default: random images, not square, of one and three channels, of one and several "
    "labels, from memory and from disk, with SGD, Adam and AdamW]",
)
@click.option(
    "--precision", default="float64", metavar="float64|float32", help="[default: float64]"
)
@click.option("--optimizer", default="sgd", metavar="sgd|adam|adamw", help="[default: sgd]")
@click.option("--lr", default="0.01", metavar="X", help="Learning rate [default: 0.01].")
@click.option(
    "--weight-decay",
    default="0.001",
    metavar="X",
    help="So that a missing one shows [default: 0.001].",
)
@click.option("--batch-size", default=32, metavar="N", help="Images a step [default: 32].")
@click.option(
    "--steps", type=int, metavar="N", help=f"Training steps [default: {STEPS}, or {QUICK_STEPS}]."
)
@click.option("--quick", is_flag=True, help=f"{QUICK_STEPS} steps: a proof in minutes.")
@click.option("--threads", metavar="N", help="Processors for each framework [default: all].")
@click.option("--each", is_flag=True, help="List every array, not only the maximum of each stage.")
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Prove what the run in DIR trained, and put the certificate into its report.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@click.option(
    "--random",
    "count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instead of networks, compare N random small computations, forward and gradient; print a "
    "program for each disagreement.",
)
@click.option("--seed", default=0, metavar="N", help="Of --random [default: 0].")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    metavar="X",
    help="Of --random at most [default: 10].",
)
@JSON
@click.pass_context
def parity(
    context: click.Context,
    frameworks: list[str] | None,
    models: list[str] | None,
    dataset: str | None,
    precision: str,
    optimizer: str,
    lr: str,
    weight_decay: str,
    batch_size: int,
    steps: int | None,
    quick: bool,
    threads: str | None,
    each: bool,
    run: Path | None,
    data_dir: Path | None,
    count: int | None,
    seed: int,
    minutes: float,
    as_json: bool,
) -> None:
    """Compare every framework with the NumPy reference, from the same weights and batches.

    The reference is the protocol written out in NumPy and float64. Compared are logits, loss, the
    gradient of every parameter, parameters with running statistics after 1, 2, 3, 10, 100 and all
    steps and after one with augmentation, predictions of all splits and inference; then all of it
    again along three epochs of other orders, learning rates and augmentation. Deviations are the
    largest differences relative to the largest magnitude; the tolerance of trained parameters is
    at least what rounding the weights makes of the reference itself. What deviates is named: known
    faults are planted in the reference until it computes the same. Exit code 1 when anything lies
    beyond its tolerance, or a framework fails. Of deep networks, fewer steps and smaller batches
    are compared.

    With --random operations, shapes (also of large batches), strides, paddings, layouts in memory
    and dtypes are drawn, by hypothesis, which reduces what disagrees to a small case. Known
    problems of a release are named, and only new disagreements make the exit code 1.

    With --run the networks, data, update rule and batch size are the run's, weights and batches
    those of its first seed; parity.json is written into its folder, and its report anew.
    """
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from harness import paths
    from harness.config import parse_experiment
    from harness.console import terminal
    from harness.errors import BenchError
    from harness.parity.cases import standard_plans
    from harness.parity.certificate import check_certified
    from harness.parity.proof import prove
    from harness.parity.trace import Workers, make_plan
    from harness.plugins import choose_backends

    if count is not None:
        _random(context, frameworks or [], count, seed, minutes, as_json)
        return
    for name in ("seed", "minutes"):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise BenchError(f"{_option(name)} is of --random: give that too, or leave it out")
    if steps is None:
        steps = QUICK_STEPS if quick else STEPS
    if steps < 1:
        raise BenchError(f"--steps is {steps}: at least one is needed")
    if run is not None:
        _of_the_run(context, run, frameworks or [], steps, quick, each, as_json)
        return
    for name in _OF_A_DATASET if dataset is None else ():
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise BenchError(f"{_option(name)} needs a data set: name one with --dataset")
    rule = {"name": optimizer, "learning_rate": lr, "weight_decay": weight_decay}
    settings = {
        "training": {"batch_size": batch_size, "precision": precision, "optimizer": rule}
    } | ({} if threads is None else {"threads": threads})
    experiment = parse_experiment(settings, where="options")
    specs, _ = choose_backends(frameworks or [], skip_unavailable=False)
    if frameworks:
        check_certified(specs)
    specs = tuple(spec for spec in specs if spec.certified)
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(experiment.threads))
        if dataset is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-parity-")))
            plans = [
                plan
                for model in models or ["lenet5"]
                for plan in standard_plans(
                    model, folder=folder, steps=steps, threads=experiment.threads
                )
            ]
        else:
            plans = [
                make_plan(
                    model,
                    dataset,
                    data_dir=paths.data_dir(data_dir),
                    optimizer=experiment.training.optimizer,
                    batch_size=batch_size,
                    steps=steps,
                    threads=experiment.threads,
                )
                for model in models or ["lenet5"]
            ]
        proofs = [prove(specs, plan, precision, workers, terminal.status) for plan in plans]
    _show(proofs, each, as_json)


def _random(
    context: click.Context,
    frameworks: list[str],
    count: int,
    seed: int,
    minutes: float,
    as_json: bool,
) -> None:
    from harness.config import parse_experiment
    from harness.console import progress_bar, terminal
    from harness.errors import BenchError
    from harness.parity.random.search import check_available, search
    from harness.parity.trace import Workers
    from harness.plugins import backends, choose_backends

    taken = {"frameworks", "threads", "count", "seed", "minutes", "as_json"}
    for name in (p.name for p in context.command.params if p.name and p.name not in taken):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise BenchError(f"--random draws its own computations: leave {_option(name)} out")
    check_available()
    specs, _ = choose_backends(frameworks, skip_unavailable=False)
    named = [spec for spec in specs if spec.operations]
    for spec in specs:
        if frameworks and not spec.operations:
            terminal.warn(f"{spec.name} takes no part: it declares no operations")
    if not named:
        able = ", ".join(spec.name for spec in backends().values() if spec.operations)
        raise BenchError(f"none of these frameworks declares operations: choose of {able}")
    threads = context.params["threads"]
    experiment = parse_experiment({} if threads is None else {"threads": threads}, where="options")
    with Workers(experiment.threads) as workers, progress_bar("cases", count) as advance:
        terminal.note(
            f"{plural(count, 'case')}, or {minutes:g} min: {', '.join(s.name for s in named)}"
        )
        found = search(
            named, workers.get, count=count, seed=seed, seconds=60 * minutes, progress=advance
        )
    rows = [
        {
            "framework": each.framework,
            "case": str(each.case),
            "what": each.what,
            "known": None if each.known is None else str(each.known),
            "program": each.program,
        }
        for each in found.found
    ]
    if as_json:
        show(rows, DISAGREEMENTS, as_json=True)
    else:
        for row in rows:
            click.echo(f"{row['framework']}: {row['what']}\n  {row['case']}")
            click.echo(f"  known: {row['known']}" if row["known"] else f"\n{row['program']}")
    terminal.note(
        f"{plural(found.drawn, 'case')} in {found.seconds:.0f} s, "
        f"{plural(len(found.found), 'disagreement')}, "
        f"{len(found.new)} of them new"
    )
    if found.new:
        raise click.exceptions.Exit(1)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _of_the_run(
    context: click.Context,
    run: Path,
    frameworks: list[str],
    steps: int,
    quick: bool,
    each: bool,
    as_json: bool,
) -> None:
    from harness.console import terminal
    from harness.errors import BenchError
    from harness.parity.certificate import certify, chosen, write_certificate
    from harness.plugins import choose_backends
    from harness.report.markdown import render
    from harness.results.folder import RunFolder

    for name, option in _OF_A_RUN.items():
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise BenchError(f"with --run that is the run's own: leave {option} out")
    folder = RunFolder.open(run)
    specs, _ = choose_backends(chosen(folder, frameworks), skip_unavailable=False)
    certificate, proofs = certify(folder, specs, steps, terminal.status, brief=quick)
    write_certificate(folder, certificate)
    terminal.note(f"report with its certificate: {render(run)}")
    _show(proofs, each, as_json)


def _show(proofs: Sequence[Proof], each: bool, as_json: bool) -> None:
    """The table, what failed, and what is wrong by its name."""
    rows = list(_rows(proofs, each))
    if as_json:
        show([*rows, *_messages(proofs)], HEADINGS, as_json=True)
    elif rows:
        _print(rows)
    complain(proofs)
    if not all(proof.holds for proof in proofs):
        raise click.exceptions.Exit(1)


def complain(proofs: Sequence[Proof]) -> None:
    """Say on stderr what failed, and what is wrong by its name."""
    from harness.console import terminal

    for row in _messages(proofs):
        terminal.error(f"{row['framework']}, {row['model']} on {row['data']}: {row['message']}")


def _rows(proofs: Sequence[Proof], each: bool) -> Iterator[dict[str, Any]]:
    """One a stage, or with ``each`` one an array."""
    for proof in proofs:
        for comparison in proof.comparisons:
            maxima = [comparison.maximum(stage) for stage in comparison.stages]
            for deviation in comparison.deviations if each else maxima:
                bound = comparison.tolerances.get(deviation.stage)
                yield {
                    "framework": comparison.framework,
                    "model": comparison.model,
                    "data": proof.dataset,
                    "stage": deviation.stage,
                    "deviation": deviation.value,
                    "tolerance": bound,
                    "where": deviation.where,
                    "agrees": None if bound is None else deviation.value <= bound,
                    "message": None,
                }


def _messages(proofs: Sequence[Proof]) -> Iterator[dict[str, Any]]:
    """What failed, and what is wrong by its name."""
    for proof in proofs:
        said = [*proof.failures.items(), *((d.framework, str(d)) for d in proof.diagnoses)]
        for framework, message in said:
            about = {"framework": framework, "model": proof.plan.model, "data": proof.dataset}
            yield dict.fromkeys(HEADINGS) | about | {"agrees": False, "message": message}


def _print(rows: Sequence[dict[str, Any]]) -> None:
    headings = ["framework", "model", "data", "stage", "deviation", "tolerance", "where", ""]
    cells = []
    for row in rows:
        bound = row["tolerance"]
        cells.append(
            [
                *(row[name] for name in headings[:4]),
                f"{row['deviation']:.1e}",
                "" if bound is None else f"{bound:.0e}",
                row["where"],
                {None: "", True: "agrees", False: "DEVIATES"}[row["agrees"]],
            ]
        )
    print_cells(headings, cells, [name in ("deviation", "tolerance") for name in headings])

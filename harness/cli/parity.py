"""``bench parity``: proof that the frameworks compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import LIST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from harness.parity.deviations import Comparison
    from harness.parity.proof import Proof


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


@click.command()
@click.option("--frameworks", **LIST, help="Backends to prove [default: all that are ready].")
@click.option("--models", **LIST, help="Networks [default: lenet5].")
@click.option("--dataset", default="digits", metavar="NAME|FILE", help="[default: digits]")
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
@click.option("--steps", default=100, metavar="N", help="Training steps [default: 100].")
@click.option("--threads", metavar="N", help="Processors for each framework [default: all].")
@click.option("--each", is_flag=True, help="List every array, not only the maximum of each stage.")
@click.option(
    "--run",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Prove what the run in DIR trained, and put the certificate into its report.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@click.pass_context
def parity(
    context: click.Context,
    frameworks: list[str] | None,
    models: list[str] | None,
    dataset: str,
    precision: str,
    optimizer: str,
    lr: str,
    weight_decay: str,
    batch_size: int,
    steps: int,
    threads: str | None,
    each: bool,
    run: Path | None,
    data_dir: Path | None,
) -> None:
    """Compare every framework with the NumPy reference, from the same weights and batches.

    The reference is the protocol written out in NumPy and float64. Compared are logits, loss, the
    gradient of every parameter, parameters with running statistics after 1, 2, 3, 10 and 100 steps
    and after one with augmentation, and the predictions of a split, as largest differences relative
    to the largest magnitude. What deviates is named: known faults are planted in the reference
    until it computes the same. Exit code 1 when anything lies beyond its tolerance, or a framework
    fails. Of deep networks, fewer steps and smaller batches are compared.

    With --run the networks, data, update rule and batch size are the run's, weights and batches
    those of its first seed; parity.json is written into its folder, and its report anew.
    """
    from harness import paths
    from harness.config import parse_experiment
    from harness.console import terminal
    from harness.errors import BenchError
    from harness.parity.certificate import check_certified
    from harness.parity.proof import prove
    from harness.parity.trace import Workers, make_plan
    from harness.plugins import choose_backends

    if steps < 1:
        raise BenchError(f"--steps is {steps}: at least one is needed")
    if run is not None:
        _of_the_run(context, run, frameworks or [], steps, each)
        return
    rule = {"name": optimizer, "learning_rate": lr, "weight_decay": weight_decay}
    settings = {
        "training": {"batch_size": batch_size, "precision": precision, "optimizer": rule}
    } | ({} if threads is None else {"threads": threads})
    experiment = parse_experiment(settings, where="options")
    specs, _ = choose_backends(frameworks or [], skip_unavailable=False)
    if frameworks:
        check_certified(specs)
    specs = tuple(spec for spec in specs if spec.certified)
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
    with Workers(experiment.threads) as workers:
        proofs = [prove(specs, plan, precision, workers, terminal.err.status) for plan in plans]
    _show(proofs, each)


def _of_the_run(
    context: click.Context, run: Path, frameworks: list[str], steps: int, each: bool
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
    certificate, proofs = certify(folder, specs, steps, terminal.err.status)
    write_certificate(folder, certificate)
    terminal.note(f"report with its certificate: {render(run)}")
    _show(proofs, each)


def _show(proofs: Sequence[Proof], each: bool) -> None:
    """The table, what failed, and what is wrong by its name."""
    from harness.console import terminal

    if comparisons := [found for proof in proofs for found in proof.comparisons]:
        terminal.print_table(_table(comparisons, each))
    for proof in proofs:
        for framework, failure in proof.failures.items():
            terminal.error(f"{framework}, {proof.plan.model}: {failure}")
        for diagnosis in proof.diagnoses:
            terminal.error(f"{diagnosis.framework}, {diagnosis.model}: {diagnosis}")
    if not all(proof.holds for proof in proofs):
        raise click.exceptions.Exit(1)


def _table(found: Sequence[Comparison], each: bool) -> Table:
    """One row a stage, or with ``each`` one an array."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("framework", "model", "stage", "deviation", "tolerance", "where", ""):
        numeric = heading in ("deviation", "tolerance")
        table.add_column(heading, justify="right" if numeric else "left")
    for comparison in found:
        bounds = comparison.tolerances
        maxima = [comparison.maximum(stage) for stage in comparison.stages]
        for deviation in comparison.deviations if each else maxima:
            bound = bounds.get(deviation.stage)
            agrees = "" if bound is None else "agrees" if deviation.value <= bound else "DEVIATES"
            table.add_row(
                comparison.framework,
                comparison.model,
                deviation.stage,
                f"{deviation.value:.1e}",
                "" if bound is None else f"{bound:.0e}",
                escape(deviation.where),
                agrees,
            )
    return table

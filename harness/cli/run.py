"""``bench run``: train and compare, then write the report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import experiment_options
from harness.cli.tables import JSON, show
from harness.config import Experiment, load_experiment
from harness.console import plural
from harness.errors import BenchError
from harness.paths import shipped
from harness.settings import nested

if TYPE_CHECKING:
    from harness.execution.runner import Comparison
    from harness.plan import Shard
    from harness.results.folder import RunFolder
    from harness.results.records import CellResult

    Execute = Callable[[Comparison], list[CellResult]]

HEADINGS = ["framework", "model", "dataset", "seed", "status", "accuracy", "auroc", "loss",
            "images per second", "error"]  # fmt: skip
"""Of ``--json``."""


@click.command(
    epilog="Settings come from the defaults, then from --config, then from the other options. "
    "Exit code 1: a training failed, or the proof of parity does. "
    "Your own data: `bench data import --help`."
)
@experiment_options(Experiment)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="TOML file with an experiment; options given here win over it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run [default: runs/ and the time].",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the HDF5 files.")
@click.option(
    "--resume", is_flag=True, help="Continue the run in --out: train and measure what is missing."
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Run part I of N of the experiment, whole groups of frameworks; see bench merge.",
)
@click.option(
    "--executor",
    type=click.Choice(["here", "dask"]),
    default="here",
    show_default=True,
    help="Where to train: in this process's own workers, or on those of dask.distributed.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of the dask cluster; without it the workers are processes of this machine.",
)
@click.option(
    "--parity/--no-parity",
    default=True,
    help="In the end, prove in float64 that all compute the same: bench parity --quick. A shard "
    "is never proven, but what bench merge makes of it.  [default: parity]",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything and say what would be trained; train nothing."
)
@JSON
def run(
    config_path: Path | None,
    out: Path | None,
    data_dir: Path | None,
    resume: bool,
    shard: str | None,
    executor: str,
    scheduler: str | None,
    parity: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the same networks, from the same numbers, in several frameworks; write a report."""
    from harness import paths
    from harness.cli.stopping import reporting_early
    from harness.plan import Shard

    if resume and out is None:
        raise BenchError("--resume continues the run in --out: name its folder with --out DIR")
    if scheduler is not None and executor != "dask":
        raise BenchError("--scheduler is the address of a dask cluster: add --executor dask")
    part = None if shard is None else Shard.parse(shard)
    experiment = load_experiment(config_path and shipped(config_path), nested(Experiment, options))
    if dry_run:
        _preview(experiment, paths.data_dir(data_dir), part, as_json=as_json)
        return
    out = out or paths.new_run_folder()
    with reporting_early(out):
        execute = _executor(executor, scheduler)
        _run(experiment, out, data_dir, resume, part, execute, parity and part is None, as_json)


def _executor(name: str, scheduler: str | None) -> Execute:
    """What carries out the plan."""
    from harness.execution.runner import run as run_here

    if name == "here":
        return run_here
    from harness.execution.dask import run_on_dask

    return partial(run_on_dask, scheduler=scheduler)


def _preview(experiment: Experiment, data_dir: Path, shard: Shard | None, *, as_json: bool) -> None:
    """What would be trained, and what it would take."""
    from harness.cli.estimate import costs, in_words
    from harness.console import terminal
    from harness.execution.runner import check

    manifest = check(experiment, data_dir, shard).manifest
    for name, reason in manifest.skipped.items():
        terminal.warn(f"without '{name}': {reason}")
    found = costs(manifest)
    rows = [
        {
            "framework": each.framework,
            "model": each.model,
            "dataset": each.dataset,
            "trainings": each.trainings,
            "about s": round(each.seconds),
            "memory MB": round(each.memory_bytes / 1e6),
            "disk MB": round(each.disk_bytes / 1e6, 1),
        }
        for each in found
    ]
    show(rows, list(rows[0]), as_json=as_json)
    terminal.note(
        f"{plural(len(manifest.own_cells), 'training')}, "
        f"about {in_words(sum(each.seconds for each in found))} "
        "(by the operations of the networks, not by a measurement); memory is what pixels, "
        "parameters and a batch take, without the framework itself"
    )
    terminal.note(manifest.command)


def _run(
    experiment: Experiment,
    out: Path,
    data_dir: Path | None,
    resume: bool,
    shard: Shard | None,
    execute: Execute,
    parity: bool,
    as_json: bool,
) -> None:
    from harness import paths
    from harness.analysis.summary import summarise
    from harness.cli.estimate import costs, in_words
    from harness.cli.progress import watched
    from harness.console import terminal
    from harness.execution.runner import prepare
    from harness.report.markdown import write
    from harness.report.terminal import overview

    comparison = prepare(
        experiment, out=out, data_dir=paths.data_dir(data_dir), resume=resume, shard=shard
    )
    for name, reason in comparison.folder.manifest.skipped.items():
        terminal.warn(f"going on without '{name}': {reason}")
    if resume and (changes := comparison.folder.changes_since_start()):
        terminal.warn(f"resuming in another environment: {'; '.join(changes)}")
    expected = sum(each.seconds for each in costs(comparison.folder.manifest))
    terminal.note(f"{plural(len(comparison.cells), 'training')}, about {in_words(expected)}")
    results = watched(comparison, execute)
    agree = not parity or _agree(comparison.folder)
    summary = summarise(out)
    report = write(summary)
    if as_json:
        timed = not experiment.accuracy_only
        show([_row(result, timed=timed) for result in results], HEADINGS, as_json=True)
    else:
        terminal.print(overview(summary))
    terminal.note(f"report: {report}")
    if not agree or any(result.status != "ok" or result.unfinished for result in results):
        raise SystemExit(1)


def _agree(folder: RunFolder) -> bool:
    """Prove what the run trained, and keep the certificate; False where anything deviates.

    There is nothing to prove where no variant that follows the protocol has trained, and nothing
    new where a resumed run has its certificate.
    """
    from harness.cli.parity import complain
    from harness.console import terminal
    from harness.parity import QUICK_STEPS
    from harness.parity.certificate import certify, chosen, read_certificate, write_certificate
    from harness.plugins import find_backend

    trained = {result.cell.framework for result in folder.results() if result.status == "ok"}
    specs = [find_backend(name) for name in chosen(folder, ()) if name in trained]
    if all(spec.lower_precision for spec in specs):
        return True
    try:
        held = read_certificate(folder.path)
        if held is not None and held.frameworks >= {spec.name for spec in specs}:
            return held.holds
        certificate, proofs = certify(folder, specs, QUICK_STEPS, terminal.status, brief=True)
        write_certificate(folder, certificate)
    except BenchError as error:
        terminal.error(f"parity was not proven: {error}")
        return False
    complain(proofs)
    return certificate.holds


def _row(result: CellResult, *, timed: bool) -> dict[str, Any]:
    from harness.stats.metrics import mean_auroc

    test, rates = result.test, sorted(result.images_per_second)
    return {
        **result.cell.model_dump(),
        "status": result.status,
        "accuracy": test and test.accuracy,
        "auroc": test and mean_auroc(test.auroc),
        "loss": test and test.loss,
        "images per second": float(rates[len(rates) // 2]) if rates and timed else None,
        "error": result.error,
    }

"""``bench run``: train and compare, then write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import experiment_options
from harness.config import Experiment, load_experiment
from harness.errors import BenchError
from harness.settings import nested


@click.command(
    epilog="Settings come from the defaults, then from --config, then from the other options. "
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
def run(
    config_path: Path | None,
    out: Path | None,
    data_dir: Path | None,
    resume: bool,
    **options: Any,
) -> None:
    """Train the same networks, from the same numbers, in several frameworks; write a report."""
    from harness.cli.stopping import reporting_early
    from harness.paths import new_run_folder

    if resume and out is None:
        raise BenchError("--resume continues the run in --out: name its folder with --out DIR")
    out = out or new_run_folder()
    with reporting_early(out):
        _run(load_experiment(config_path, nested(Experiment, options)), out, data_dir, resume)


def _run(experiment: Experiment, out: Path, data_dir: Path | None, resume: bool) -> None:
    from harness import paths
    from harness.analysis.summary import summarise
    from harness.cli.progress import watched
    from harness.console import terminal
    from harness.execution.runner import prepare
    from harness.report.markdown import write
    from harness.report.terminal import overview

    comparison = prepare(experiment, out=out, data_dir=paths.data_dir(data_dir), resume=resume)
    for name, reason in comparison.folder.manifest.skipped.items():
        terminal.warn(f"going on without '{name}': {reason}")
    if resume and (changes := comparison.folder.changes_since_start()):
        terminal.warn(f"resuming in another environment: {'; '.join(changes)}")
    results = watched(comparison)
    summary = summarise(out)
    report = write(summary)
    terminal.print(overview(summary))
    terminal.note(f"report: {report}")
    if any(result.status != "ok" or result.unfinished for result in results):
        raise SystemExit(1)

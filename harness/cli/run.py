"""``bench run``: train and compare, then write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import BenchError

if TYPE_CHECKING:
    from harness.config import Experiment


def _names(_: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise click.BadParameter("is a list separated by commas, with nothing empty in it")
    return names


INFERENCE_BATCHES = (1, 4, 16, 64, 256, 512)
_LIST: dict[str, Any] = {"callback": _names, "metavar": "A,B,..."}


@click.command(
    epilog="Settings come from the defaults, then from --config, then from the other options. "
    "Your own data: `bench data import --help`."
)
@click.option(
    "--frameworks",
    **_LIST,
    help="Backends to compare [default: all that are ready, without variants].",
)
@click.option("--models", **_LIST, help="Networks [default: lenet5].")
@click.option("--datasets", **_LIST, help="Names of data sets, or HDF5 files [default: digits].")
@click.option("--seeds", **_LIST, help="One training for each [default: 0].")
@click.option("--epochs", metavar="N", help="Passes over the training split [default: 20].")
@click.option("--batch-size", metavar="N", help="Images a step [default: 64].")
@click.option("--optimizer", metavar="sgd|adam|adamw", help="Update rule [default: sgd].")
@click.option("--lr", metavar="X", help="Peak learning rate [default: 0.05].")
@click.option("--momentum", metavar="X", help="Of SGD [default: 0.9].")
@click.option("--weight-decay", metavar="X", help="In the gradient, or of AdamW [default: 0].")
@click.option("--beta1", metavar="X", help="Of Adam [default: 0.9].")
@click.option("--beta2", metavar="X", help="Of Adam [default: 0.999].")
@click.option("--epsilon", metavar="X", help="Of Adam [default: 1e-8].")
@click.option(
    "--schedule",
    metavar="constant|cosine|one-cycle",
    help="Of the learning rate [default: one-cycle].",
)
@click.option("--flip/--no-flip", default=None, help="Mirror half of the training images.")
@click.option("--shift", metavar="PIXELS", help="Shift training images by up to so many.")
@click.option(
    "--positive-weights",
    metavar="none|balanced",
    help="What the positives of a rare label count in the loss [default: none].",
)
@click.option(
    "--initial-weights",
    metavar="FILE",
    help="Weight file to start from [default: drawn from the seed].",
)
@click.option("--precision", metavar="float32|float64", help="[default: float32]")
@click.option("--threads", metavar="N", help="Processors for each framework [default: all].")
@click.option(
    "--sessions",
    metavar="N",
    help="Fresh starts of every framework, for intervals that cover other starts [default: 1].",
)
@click.option(
    "--rounds",
    metavar="N",
    help="Timed passes, in turns; those beyond --epochs are for the clock alone.",
)
@click.option(
    "--target",
    metavar="X",
    help="Validation accuracy (or AUROC) to tell the time to [default: what all reach].",
)
@click.option(
    "--inference",
    **_LIST | {"metavar": "[1,2,...]"},
    is_flag=False,
    flag_value=",".join(map(str, INFERENCE_BATCHES)),
    help=f"Time answers too, in batches of these sizes [alone: {INFERENCE_BATCHES[0]} to "
    f"{INFERENCE_BATCHES[-1]}].",
)
@click.option("--profile", is_flag=True, help="Tell how the time divides into operations.")
@click.option("--device", metavar="cpu|gpu", help="[default: cpu]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    help="End a worker whose phase takes longer; or start=S,compile=S,epoch=S [default: 900 to "
    "start, 3600 where it may compile, ten times what earlier epochs suggest, at least 600].",
)
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
    "--skip-unavailable", is_flag=True, help="Go on without frameworks that are not ready."
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
    from harness.config import load_experiment
    from harness.execution.suite import default_run_folder

    if resume and out is None:
        raise BenchError("--resume continues the run in --out: name its folder with --out DIR")
    out = out or default_run_folder()
    with reporting_early(out):
        _run(load_experiment(config_path, _settings(options)), out, data_dir, resume)


def _run(experiment: Experiment, out: Path, data_dir: Path | None, resume: bool) -> None:
    from harness import paths
    from harness.cli.progress import observer_for_terminal
    from harness.console import terminal
    from harness.execution.runner import prepare
    from harness.execution.suite import run_suite
    from harness.report.render import render
    from harness.report.terminal import headline_table

    comparison = prepare(experiment, out=out, data_dir=paths.data_dir(data_dir), resume=resume)
    for name, reason in comparison.folder.manifest.skipped.items():
        terminal.warn(f"going on without '{name}': {reason}")
    if resume and (changes := comparison.folder.changes_since_start()):
        terminal.warn(f"resuming in another environment: {'; '.join(changes)}")
    observer = observer_for_terminal(len(comparison.cells), experiment.training.epochs)
    comparison.observer = observer
    with observer.display():
        run_suite(comparison)
    report = render(out)
    terminal.print(headline_table(comparison.folder))
    terminal.note(f"report: {report}")
    if any(r.status != "ok" or r.unfinished for r in comparison.folder.results()):
        raise SystemExit(1)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, nested as an experiment is."""

    def given(**pairs: Any) -> dict[str, Any]:
        return {key: value for key, value in pairs.items() if value is not None}

    return given(
        frameworks=options["frameworks"],
        models=options["models"],
        datasets=options["datasets"],
        seeds=options["seeds"],
        threads=options["threads"],
        device=options["device"],
        timeout=options["timeout"],
        skip_unavailable=options["skip_unavailable"] or None,
        sessions=options["sessions"],
        rounds=options["rounds"],
        target=options["target"],
        inference=options["inference"],
        profile=options["profile"] or None,
    ) | {
        "training": given(
            epochs=options["epochs"],
            batch_size=options["batch_size"],
            schedule=options["schedule"],
            precision=options["precision"],
            positive_weights=options["positive_weights"],
            initial_weights=options["initial_weights"],
        )
        | {"augmentation": given(flip=options["flip"], shift=options["shift"])}
        | {
            "optimizer": given(
                name=options["optimizer"],
                learning_rate=options["lr"],
                momentum=options["momentum"],
                weight_decay=options["weight_decay"],
                beta1=options["beta1"],
                beta2=options["beta2"],
                epsilon=options["epsilon"],
            )
        }
    }

"""Training the cells of one group: each in its own worker, epoch by epoch in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from harness.backends.registry import BackendSpec
from harness.config import Experiment, available_cpus
from harness.execution.cell import CellRun
from harness.execution.extras import Showcase, keep_examples, profile, time_inference
from harness.execution.inputs import Course, adapted_weights, first_weights
from harness.execution.observer import Observer
from harness.measure.peak import Gauge
from harness.models import find_model
from harness.plan import Group
from harness.results.folder import RunFolder
from harness.results.records import CellResult, MachinePeak


def run_group(
    folder: RunFolder,
    backends: Mapping[str, BackendSpec],
    group: Group,
    observer: Observer,
) -> Iterator[CellResult]:
    """Train the cells of one group in turns; a cell that fails leaves the others alone.

    Every result is on disk before it is yielded.
    """
    if not group:
        return
    experiment = folder.manifest.experiment
    training = experiment.training
    entry = folder.manifest.datasets[group[0].dataset]
    card = find_model(group[0].model)
    weights = first_weights(card, entry, training, group[0].seed)
    course = Course.make(weights, training, entry.train, group[0].seed)
    cpus = available_cpus()
    with ExitStack() as stack:
        gauge = stack.enter_context(Gauge(threads=experiment.threads, cpus=cpus))
        if folder.machine is None:
            folder.write_machine(measure_machine(gauge, experiment.threads))
        runs = [
            CellRun(
                folder=folder,
                spec=backends[cell.framework],
                cell=cell,
                course=course,
                parameters=card.trainable_size(entry.image_shape, len(entry.classes)),
                adapted=adapted_weights(weights, training),
                gauge=gauge,
                cpus=cpus,
                observer=observer,
            )
            for cell in group
        ]
        yield from _train(runs, training.epochs, stack)
        yield from _measure_extras(runs, experiment, Showcase.of(folder, group))
        for run in runs:
            yield from run.attempt(run.finish)


def _train(runs: list[CellRun], epochs: int, stack: ExitStack) -> Iterator[CellResult]:
    """From new processes to the evaluation on the test split."""
    for run in runs:
        yield from run.attempt(run.open, stack)
    for number in range(epochs):
        for run in runs:
            yield from run.attempt(run.train_epoch, number)
    for run in runs:
        yield from run.attempt(run.test)


def _measure_extras(
    runs: list[CellRun], experiment: Experiment, showcase: Showcase | None
) -> Iterator[CellResult]:
    """What was asked for besides training."""
    if showcase is not None:
        for run in runs:
            yield from run.attempt(keep_examples, run, showcase)
    for number in range(experiment.training.epochs, experiment.rounds):
        for run in runs:
            yield from run.attempt(run.time_round, number)
    if runs[0].cell.seed != experiment.seeds[0]:
        return  # another seed answers no faster
    for batch_size in experiment.inference:
        for run in runs:
            yield from run.attempt(time_inference, run, batch_size)
    if experiment.profile:
        for run in runs:
            yield from run.attempt(profile, run)


def measure_machine(gauge: Gauge, threads: int) -> MachinePeak:
    """What the processors of this run can do at most; nothing else runs meanwhile."""
    return MachinePeak(
        threads=threads,
        gemm_gflops={
            "float32": gauge.peak_gemm_gflops("float32"),
            "float64": gauge.peak_gemm_gflops("float64"),
        },
        bandwidth_gb_s=gauge.bandwidth_gb_s(),
    )

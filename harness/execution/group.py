"""Training the cells of one group: each in its own worker, interleaved epoch by epoch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from harness.backends.spec import BackendSpec
from harness.cpus import quiet_cpus
from harness.errors import ProbeError
from harness.execution.caches import remove_abandoned
from harness.execution.cell import CellRun
from harness.execution.checkpoints import resume_after, save_all
from harness.execution.extras import ExampleSelection, measure_all, planned
from harness.execution.inputs import TrainingInputs, adapted_weights, first_weights
from harness.execution.observer import Observer
from harness.execution.stop import Stop
from harness.measure.interleave import rotated
from harness.measure.probe import MachineProbe, Precision
from harness.plan import Group
from harness.plugins import find_model
from harness.results.folder import RunFolder
from harness.results.records import CellResult, MachinePeak
from harness.variables import for_worker

MOST_OVERHEAD = 0.01
"""Of the training, that checkpoints may take: those of large networks are saved less often."""


def run_group(
    folder: RunFolder,
    backends: Mapping[str, BackendSpec],
    group: Group,
    observer: Observer,
    cpus: tuple[int, ...] = (),
    stop: Stop | None = None,
) -> list[CellResult]:
    """Train the cells of one group interleaved; a cell that fails leaves the others alone.

    A result is on disk as soon as a training has ended. Of cells that have one already, only what
    is missing besides training is measured. ``cpus``: on which; without them on quiet ones.
    ``stop``: ends it from another thread.
    """
    if not group:
        return []
    remove_abandoned()
    experiment = folder.manifest.experiment
    training = experiment.training
    entry = folder.manifest.datasets[group[0].dataset]
    card = find_model(group[0].model)
    weights = first_weights(card, entry, training, group[0].seed)
    inputs = TrainingInputs.make(weights, training, entry.train, group[0].seed)
    cpus = cpus or quiet_cpus(experiment.threads)  # the same for all, so that they compare
    session = folder.new_session()
    saved = resume_after(folder, group)
    with ExitStack() as stack:
        probe = None
        if not experiment.accuracy_only:
            environment = for_worker(os.environ)
            probe = stack.enter_context(
                MachineProbe(threads=experiment.threads, cpus=cpus, environment=environment)
            )
        runs = [
            stack.enter_context(
                CellRun(
                    folder=folder,
                    spec=backends[cell.framework],
                    cell=cell,
                    inputs=inputs,
                    parameters=card.trainable_size(entry.image_shape, len(entry.classes)),
                    adapted=adapted_weights(weights, training),
                    extras=planned(experiment, cell),
                    session=session,
                    probe=probe,
                    cpus=cpus,
                    observer=observer,
                    resume_after=saved[cell],
                    stop=stop,
                )
            )
            for cell in group
        ]
        train_all(runs, training.epochs, experiment.checkpoint_seconds)
        measure_all(runs, experiment, ExampleSelection.of(folder, group))
        results = [run.finish() for run in runs]
        if probe is not None:
            _update_machine(folder, probe)
        return results


def train_all(runs: Sequence[CellRun], epochs: int, checkpoint_seconds: float) -> None:
    """From new processes to the evaluation on the test split, interleaved.

    Trainings that go on from checkpoints join at their epoch: the same epoch of all is trained
    side by side.
    """
    for run in runs:
        run.attempt(run.open)
    trained = cost = 0.0  # seconds since the last checkpoint, and of that
    for number in range(epochs):
        for run in rotated(runs, number):
            run.attempt(run.train_epoch, number)
        seconds = [run.epochs[-1].seconds for run in runs if run.epochs]
        trained += sum(seconds)
        worthwhile = checkpoint_seconds == 0 or cost <= MOST_OVERHEAD * trained
        # After the last epoch, the result follows at once.
        if number + 1 < epochs and max(seconds, default=0.0) >= checkpoint_seconds and worthwhile:
            began = time.perf_counter()
            save_all(runs)
            trained, cost = 0.0, time.perf_counter() - began
    for run in runs:
        run.attempt(run.test)


def measure_machine(
    probe: MachineProbe, threads: int, precision: Precision, known: MachinePeak | None
) -> MachinePeak:
    """The best that the processors of this run have shown so far; nothing else runs meanwhile."""
    probe.peak_gemm_gflops(precision)
    seen = MachinePeak(
        threads=threads,
        gemm_gflops=probe.best_gemm_gflops,
        bandwidth_gb_s=probe.bandwidth_gb_s(),
    )
    return seen if known is None else known.better_of(seen)


def _update_machine(folder: RunFolder, probe: MachineProbe) -> None:
    """Measure the machine, and keep the best, unless the run was resumed on another one.

    Once a group, in its end: a matrix product is measured before every round as well.
    """
    if folder.on_another_cpu:
        return
    with contextlib.suppress(ProbeError):
        experiment = folder.manifest.experiment
        precision = experiment.training.precision
        folder.write_machine(measure_machine(probe, experiment.threads, precision, folder.machine))

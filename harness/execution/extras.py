"""What is measured besides training, each by itself: one that fails costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.config import Experiment
from harness.data.reader import open_dataset
from harness.errors import WorkerError
from harness.execution.cell import CellRun, now
from harness.execution.repeats import repeat_disturbed
from harness.measure.examples import Examples, choose
from harness.measure.interleave import rotated
from harness.measure.warmup import InferenceBudget
from harness.plan import Cell, Group
from harness.results.folder import RunFolder
from harness.results.records import CellResult, Latency, Restart

RESTART_ROUNDS = 6
"""Timed in each further session, after its warm-up."""
PROFILED_STEPS = 50
"""A profiler keeps every event, and more of the same say nothing new."""


@dataclass
class ExampleSelection:
    """Test images that the report shows of a group; the first cell to finish chooses them."""

    chosen: Examples | None = None

    @classmethod
    def of(cls, folder: RunFolder, group: Group) -> ExampleSelection:
        """What a finished cell of the group has kept already."""
        first = group[0]
        for cell in folder.manifest.cells:
            if cell.model_copy(update={"framework": first.framework}) != first:
                continue
            result = folder.read_result(cell)
            if result is None or result.status != "ok":
                continue
            arrays = folder.read_arrays(cell)
            if arrays is not None and arrays.example_rows is not None:
                assert arrays.example_outputs is not None
                return cls(Examples(arrays.example_rows, arrays.example_outputs))
        return cls()


def planned(experiment: Experiment, cell: Cell) -> tuple[str, ...]:
    """Names of what is to be measured of ``cell`` besides training, in that order."""
    if experiment.accuracy_only:
        return ()
    first = cell.seed == experiment.seeds[0]  # another seed would tell the same again
    asked = {
        "warm start": first and experiment.warm_start,
        "examples": first,
        "rounds": experiment.rounds > experiment.training.epochs,
        "inference": first and bool(experiment.inference),
        "profile": first and experiment.profile,
        "restarts": experiment.sessions > 1,
    }
    return tuple(name for name, wanted in asked.items() if wanted)


def work_of(experiment: Experiment, cell: Cell, kept: CellResult | None) -> dict[str, int]:
    """The units of work that ``cell`` consists of, by kind: what progress is counted in.

    ``kept``: what an earlier invocation has left of it.
    """
    epochs = experiment.training.epochs
    each = {
        "rounds": experiment.rounds - epochs,
        "inference": len(experiment.inference),
        "restarts": (experiment.sessions - 1) * (1 + RESTART_ROUNDS),
    }
    extras = {name: each.get(name, 1) for name in planned(experiment, cell)}
    if kept is not None and kept.status == "ok":
        return {"start-up": 1} | {name: extras.get(name, 1) for name in kept.unfinished}
    return {"start-up": 1, "training": epochs} | extras


def measure_all(
    runs: Sequence[CellRun], experiment: Experiment, selection: ExampleSelection
) -> None:
    """Measure what is pending of ``runs``, one thing after the other, interleaved."""
    rounds = range(experiment.training.epochs, experiment.rounds)
    steps: dict[str, list[Callable[[CellRun], None]]] = {
        "warm start": [start_warm],  # before anything ends the first start and its caches
        "examples": [partial(keep_examples, selection=selection)],
        "rounds": [partial(time_round, number=number) for number in rounds],
        "inference": [partial(time_inference, batch_size=size) for size in experiment.inference],
        "profile": [profile],
    }
    for name, actions in steps.items():
        first = rounds.start if name == "rounds" else 0
        for turn, action in enumerate(actions, first):
            for run in rotated(runs, turn):
                run.attempt_extra(name, action)
        for run in runs:
            run.end_extra(name, "done")
        if name == "rounds":
            repeat_disturbed(runs)
    restart_all(runs, experiment.sessions - 1)


def restart_all(runs: Sequence[CellRun], count: int) -> None:
    """Start every framework anew ``count`` times, and time interleaved rounds in each session."""
    for index in range(count):
        start = partial(start_anew, session=runs[0].folder.new_session(), first=index == 0)
        for run in runs:
            run.attempt_extra("restarts", start)
        for number in range(RESTART_ROUNDS):
            for run in rotated(runs, number):
                run.attempt_extra("restarts", partial(time_restart, number=number))
    for run in runs:
        run.end_extra("restarts", "done")


def start_warm(run: CellRun) -> None:
    """A second start with the compile caches that the first has filled; only it is at work."""
    run.observer.phase_started(run.cell, "warm start")
    run.update(write=False, warm_start=run.start_warm())


def keep_examples(run: CellRun, *, selection: ExampleSelection) -> None:
    """Add the group's examples, and this cell's maps of them, to what is kept of the test split."""
    arrays = run.folder.read_arrays(run.cell)
    assert arrays is not None
    examples = selection.chosen
    if examples is None:
        examples = choose(
            run.entry.task, arrays.test_logits, arrays.test_labels, arrays.test_groups
        )
        if not len(examples.rows):
            return
    run.worker.limit_s = run.limits.compile
    maps = run.worker.activation_maps("test", examples.rows, examples.outputs)
    if maps.ndim != 3 or len(maps) != len(examples.rows):
        raise WorkerError(
            f"{run.spec.name} returned activation maps of shape {maps.shape} "
            f"for {len(examples.rows)} images"
        )
    with open_dataset(Path(run.entry.path), memory_budget=0) as data:
        images = data.split("test").images(examples.rows)
    kept = {
        "example_rows": examples.rows,
        "example_outputs": examples.outputs,
        "example_images": images,
        "example_maps": maps,
    }
    run.folder.write_arrays(run.cell, arrays.model_copy(update=kept))
    selection.chosen = examples


def time_round(run: CellRun, *, number: int) -> None:
    """One more round for the clock alone: the first epochs over again, from the start."""
    assert run.result is not None
    before = run.result.extra_rounds
    if number % run.epoch_count == 0:
        run.observer.phase_started(run.cell, "timing")
        run.worker.load_weights(run.inputs.weights)
    if number == run.epoch_count:
        before = ()  # of an earlier process: not to be mixed with what this one measures
    timed = run.time_round(number % run.epoch_count)
    run.update(write=False, extra_rounds=(*before, timed))


def start_anew(run: CellRun, *, session: str, first: bool) -> None:
    """A further start of the framework; what earlier runs left of these goes with the first."""
    assert run.result is not None
    run.observer.phase_started(run.cell, "starting anew")
    started = now()
    restart = Restart(session=session, started=started, phases=run.start_anew(), rounds=())
    before = () if first else run.result.restarts
    run.update(write=False, restarts=(*before, restart))


def time_restart(run: CellRun, *, number: int) -> None:
    """One round of the latest start."""
    assert run.result is not None
    *before, latest = run.result.restarts
    timed = run.time_round(number % run.epoch_count)
    grown = latest.model_copy(update={"rounds": (*latest.rounds, timed)})
    run.update(write=False, restarts=(*before, grown))


def time_inference(run: CellRun, *, batch_size: int) -> None:
    """Answers to one batch of test images in memory, again and again."""
    assert run.result is not None
    if any(latency.batch_size == batch_size for latency in run.result.inference):
        return
    run.observer.phase_started(run.cell, f"inference {batch_size}")
    run.worker.limit_s = run.limits.compile
    first, *later = run.worker.infer("test", batch_size, InferenceBudget())
    latency = Latency(batch_size=batch_size, first_s=first, seconds=tuple(later))
    run.update(inference=(*run.result.inference, latency))


def profile(run: CellRun) -> None:
    """Some steps more under the framework's own profiler."""
    run.observer.phase_started(run.cell, "profiling")
    run.worker.limit_s = run.limits.compile
    run.worker.load_weights(run.inputs.weights)
    steps = slice(0, PROFILED_STEPS)
    operations = run.worker.profile(run.inputs.orders[0][steps], run.inputs.rates[0][steps])
    run.update(write=False, operations=operations)

"""What is measured besides training, each part by itself: answers, operations, example pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.data.hdf5 import open_dataset
from harness.errors import WorkerError
from harness.execution.cell import CellRun
from harness.measure.examples import Examples, choose
from harness.measure.warmup import InferenceBudget
from harness.plan import Group
from harness.results.folder import RunFolder
from harness.results.records import Latency

PROFILED_STEPS = 50
"""A profiler keeps every event, and more of the same say nothing new."""


@dataclass
class Showcase:
    """Test images that the report shows of a group; the first cell to finish chooses them."""

    chosen: Examples | None = None

    @classmethod
    def of(cls, folder: RunFolder, group: Group) -> Showcase | None:
        """What a finished cell of the group has kept already.

        None for all seeds but the run's first: their pictures would say the same again.
        """
        first = group[0]
        if first.seed != folder.manifest.experiment.seeds[0]:
            return None
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


def keep_examples(run: CellRun, showcase: Showcase) -> None:
    """Add the group's examples, and this cell's maps of them, to what is kept of the test split."""
    arrays = run.folder.read_arrays(run.cell)
    assert arrays is not None
    examples = showcase.chosen
    if examples is None:
        examples = choose(
            run.entry.task, arrays.test_logits, arrays.test_labels, arrays.test_groups
        )
        if not len(examples.rows):
            return
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
    showcase.chosen = examples


def time_inference(run: CellRun, batch_size: int) -> None:
    """Answers to one batch of test images in memory, again and again."""
    run.observer.phase_started(run.cell, f"answering {batch_size}")
    first, *later = run.worker.infer("test", batch_size, InferenceBudget())
    run.inference.append(Latency(batch_size=batch_size, first_s=first, seconds=tuple(later)))


def profile(run: CellRun) -> None:
    """Some steps more under the framework's own profiler."""
    run.observer.phase_started(run.cell, "profiling")
    run.worker.load_weights(run.course.weights)
    steps = slice(0, PROFILED_STEPS)
    run.operations = run.worker.profile(run.course.orders[0][steps], run.course.rates[0][steps])

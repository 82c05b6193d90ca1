"""How long a run takes: before it, by the size of its work, and during it, by what it has taken."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.execution.extras import RESTART_ROUNDS
from harness.plan import Cell
from harness.plugins import find_model
from harness.results.folder import Manifest

STARTUP_S = 10.0
"""Of one start, before anything is known: process, import, build, compilation and warm-up."""
GFLOPS_PER_THREAD = 10.0
"""Training speed before anything is known: small networks on current CPUs reach 5 to 20."""
Kind = Literal["start-up", "training", "other"]


class Estimate:
    """Remaining seconds of a run of so many cells. Only one thing is at work at a time."""

    def __init__(
        self, cells: int, epochs: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cells = cells
        self.epochs = epochs
        self.done = 0
        """Epochs, those that kept and failed cells will not do included."""
        self._clock = clock
        self._began = self._last = clock()
        self._kind: Kind = "other"
        self._spent: dict[Kind, float] = {"start-up": 0.0, "training": 0.0, "other": 0.0}
        self._timed = 0
        self._seen: dict[str, int] = {}
        self._ended = 0

    @property
    def total(self) -> int:
        """Epochs of the whole run."""
        return self.cells * self.epochs

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return self._clock() - self._began

    def phase(self, cell: Cell) -> None:
        """A phase of ``cell`` begins: of its start-up, or of what follows its training."""
        trained = self._seen.setdefault(cell.id, 0) == self.epochs
        self._next("other" if trained else "start-up")

    def epoch(self, cell: Cell, number: int) -> None:
        """Epoch ``number`` of ``cell`` has ended."""
        self._timed += self._kind == "training"
        self.done += number - self._seen.get(cell.id, 0)  # a resumed training begins later
        self._seen[cell.id] = number
        self._next("training")

    def end(self, cell: Cell) -> None:
        """``cell`` has its result."""
        self.done += self.epochs - self._seen.get(cell.id, 0)
        self._seen[cell.id] = self.epochs
        self._ended += 1
        self._next("other")

    def _next(self, kind: Kind) -> None:
        now = self._clock()
        self._spent[self._kind] += now - self._last
        self._kind, self._last = kind, now

    @property
    def remaining(self) -> float | None:
        """Seconds; None while no second epoch has ended."""
        if not self._timed:
            return None
        opened = len(self._seen)
        left = (self.total - self.done) * self._spent["training"] / self._timed
        left += (self.cells - opened) * self._spent["start-up"] / opened
        return left + (self.cells - self._ended) * self._spent["other"] / max(1, self._ended)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the trainings of one framework, network and data set take, before anything is known."""

    framework: str
    model: str
    dataset: str
    trainings: int
    seconds: float
    memory_bytes: int
    """Of one worker process: pixels, parameters with gradients and state, and a batch."""
    disk_bytes: int
    """Of the results of all of them."""


def costs(manifest: Manifest) -> list[Cost]:
    """The costs of a run by framework, network and data set."""
    experiment = manifest.experiment
    training = experiment.training
    passes = max(training.epochs, experiment.rounds) + RESTART_ROUNDS * (experiment.sessions - 1)
    counts = Counter((cell.framework, cell.model, cell.dataset) for cell in manifest.own_cells)
    found = []
    for (framework, model, dataset), count in counts.items():
        card, entry = find_model(model), manifest.datasets[dataset]
        shape, classes = entry.image_shape, len(entry.classes)
        parameters = card.trainable_size(shape, classes)
        flops = card.training_flops(shape, classes) * entry.train * passes
        batch = card.training_bytes(shape, classes, training.batch_size, 4) * training.batch_size
        pixels = math.prod(shape) * (entry.train + entry.val + entry.test)
        starts = experiment.sessions + experiment.warm_start / len(experiment.seeds)
        found.append(
            Cost(
                framework=framework,
                model=model,
                dataset=dataset,
                trainings=count,
                seconds=count
                * (STARTUP_S * starts + flops / (GFLOPS_PER_THREAD * 1e9 * experiment.threads)),
                memory_bytes=int(pixels + 16 * parameters + batch),
                disk_bytes=count * (4 * parameters + 4 * classes * entry.test),
            )
        )
    return found


def in_words(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"

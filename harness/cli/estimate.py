"""How long a run takes: before it, by the size of its work, and during it, by what it has taken."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.config import available_cpus
from harness.execution.extras import RESTART_ROUNDS
from harness.plan import Cell
from harness.plugins import find_model
from harness.results.folder import Manifest

STARTUP_S = 10.0
"""Of one start, before anything is known: process, import, build, compilation and warm-up."""
GFLOPS_PER_THREAD = 10.0
"""Training speed before anything is known: small networks on current CPUs reach 5 to 20."""
LIKE = {"warm start": "start-up", "rounds": "training", "restarts": "training"}
"""What a kind of work takes, before it is known, is what another kind takes."""
UNKNOWN_S = 2.0
"""Of a unit of any other kind, before it is known."""


class Estimate:
    """Remaining seconds of a run; only one thing is at work at a time.

    ``work``: the units that each cell consists of, by kind of work; see
    :func:`harness.execution.extras.work_of`.
    """

    def __init__(
        self,
        work: Mapping[Cell, Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._left = {cell: Counter(units) for cell, units in work.items()}
        self.total = sum(units["training"] for units in self._left.values())
        """Epochs of the whole run."""
        self._clock = clock
        self._began = self._last = clock()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._measured: Counter[str] = Counter()
        """Units that ``_spent`` is of."""

    @property
    def done(self) -> int:
        """Epochs, those that kept and failed cells will not do included."""
        return self.total - sum(units["training"] for units in self._left.values())

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return self._clock() - self._began

    def unit(self, cell: Cell, kind: str) -> None:
        """A unit of ``kind`` of ``cell`` has ended, and the next begins."""
        now = self._clock()
        self._spent[kind] += now - self._last
        self._measured[kind] += 1
        self._last = now
        if cell in self._left:
            self._left[cell][kind] -= 1

    def epoch(self, cell: Cell, number: int, epochs: int) -> None:
        """Epoch ``number`` of ``epochs`` has ended; a resumed training begins at a later one."""
        self.unit(cell, "training")
        if cell in self._left:
            self._left[cell]["training"] = epochs - number

    def end(self, cell: Cell) -> None:
        """``cell`` has its result: nothing is left to do."""
        self._left.pop(cell, None)
        self._last = self._clock()

    @property
    def remaining(self) -> float | None:
        """Seconds; None while no second epoch has ended."""
        if self._measured["training"] < 2:
            return None
        return sum(
            count * self._seconds(kind)
            for units in self._left.values()
            for kind, count in units.items()
            if count > 0  # what is done more often than expected
        )

    def _seconds(self, kind: str) -> float:
        """Of one unit."""
        for known in (kind, LIKE.get(kind)):
            if known is not None and self._measured[known]:
                return self._spent[known] / self._measured[known]
        return UNKNOWN_S


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
        side_by_side = 1
        if experiment.accuracy_only:
            starts, side_by_side = 1, len(available_cpus()) // experiment.threads
        found.append(
            Cost(
                framework=framework,
                model=model,
                dataset=dataset,
                trainings=count,
                seconds=count
                * (STARTUP_S * starts + flops / (GFLOPS_PER_THREAD * 1e9 * experiment.threads))
                / max(1, side_by_side),
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


def on_a_clock(seconds: float) -> str:
    """``0:40``, ``12:05``, ``2:10:00``: what has passed, to the second."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

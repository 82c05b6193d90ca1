"""The records that a run leaves behind, as JSON; every number in a report comes from these."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.measure.conditions import Conditions
from harness.measure.operations import Operation
from harness.measure.warmup import WarmUp
from harness.plan import Cell

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
TAIL_CALLS = 3
"""A percentile rests on at least so many calls beyond it: the 50th on 6, the 90th on 30, the 99th
on 300 calls in all."""


def _ran(conditions: Conditions) -> Conditions:
    if not (conditions.gemm_gflops > 0 and math.isfinite(conditions.gemm_gflops)):
        raise ValueError(f"a matrix product ran at {conditions.gemm_gflops} GFLOP/s")
    return conditions


Around = Annotated[Conditions, AfterValidator(_ran)]
"""Conditions that speeds can be divided by."""


class Record(BaseModel):
    # A training that diverges has NaN in its record; strict JSON knows it only as a string.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Phases(Record):
    """Seconds of what happens once in a start, before the first steady epoch."""

    start_s: NotNegative
    """Process start until it answers, framework not imported yet."""
    import_s: NotNegative
    """Importing the framework."""
    build_s: NotNegative
    """Opening the data, building the model, loading the initial weights."""
    first_step_s: NotNegative
    """One training step from cold, compilation included; its effect is then undone."""
    first_predict_s: NotNegative
    """The batch shapes of an evaluation from cold, compilation included."""


class Round(Record):
    """A pass over the training split for the clock alone; what it trained is thrown away."""

    seconds: Positive
    images: AtLeastOne
    conditions: Around | None = None
    repeats: Count = 0
    """How often it was measured again because its turn was disturbed."""
    disturbed: bool = False
    """Whether other work disturbed what is recorded; see ``harness.measure.conditions``."""


class Restart(Record):
    """A framework started anew after the training, in a process of its own, for the clock alone."""

    session: str
    """Shared by the frameworks that were started together and interleaved."""
    started: str
    """ISO 8601, UTC."""
    phases: Phases
    rounds: tuple[Round, ...]


class CompileCache(Record):
    """What one cache of a framework held when its first start had ended."""

    name: str
    files: Count
    bytes: Count
    rejected: tuple[str, ...] = ()
    """Files that the second start wrote, new ones or in place of others: what it compiled again."""


class WarmStart(Record):
    """A second start of a cell, with the caches that its first, cold start had filled."""

    phases: Phases
    caches: tuple[CompileCache, ...] = ()


class Latency(Record):
    """Calls with one batch of images in memory, until the logits are in memory."""

    batch_size: AtLeastOne
    first_s: NotNegative
    """The first call of this size, compilation included."""
    seconds: tuple[Positive, ...]
    """Of every call after the warm-up."""

    def percentile(self, percent: float) -> float | None:
        """Seconds; None where fewer than ``TAIL_CALLS`` calls can lie beyond it."""
        beyond = len(self.seconds) * min(percent, 100 - percent) / 100
        if beyond < TAIL_CALLS - 1e-9:
            return None
        return float(np.percentile(self.seconds, percent))


class Epoch(Record):
    """One pass over the training split; ``seconds`` covers training only, device synchronised."""

    seconds: Positive
    images: AtLeastOne
    loss: float
    """Mean of the step losses."""
    val_loss: float
    val_accuracy: Share
    val_auroc: Share | None = None
    """Mean over the labels, where there is one."""
    evaluate_s: NotNegative
    conditions: Around | None = None
    repeats: Count = 0
    """See :class:`Round`; ``seconds`` and ``conditions`` are of the quietest attempt."""
    disturbed: bool = False


class FinalScore(Record):
    """Evaluation on the test split after the last epoch."""

    examples: AtLeastOne
    correct: Count
    accuracy: Share
    loss: float
    auroc: tuple[Share | None, ...] = ()
    """See ``harness.stats.metrics.Evaluation``; of every label, or of two classes."""
    seconds: Positive

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.correct > self.examples:
            raise ValueError(f"{self.correct} of {self.examples} images are correct")
        return self


class Identity(Record):
    """What was held identical, as SHA-256 of the exact bytes that reached the framework."""

    data: str
    initial_weights: str
    """Of the weights read back from the framework after loading them."""
    batch_order: str
    learning_rates: str
    augmentation: str = "none"
    """Of the augmentation of the training images, where there are any."""
    images: str = ""
    """Of the pixels and labels of all splits as the framework held them; empty in results from
    before it was recorded, and where a backend cannot tell."""


class MachinePeak(Record):
    """What the machine can do at most, measured in the run itself (``machine.json``).

    The best of what was seen before, between and after the trainings.
    """

    threads: AtLeastOne
    gemm_gflops: dict[Literal["float32", "float64"], Positive]
    """Best of repeated square matrix products in the precision of the run, NumPy's BLAS."""
    bandwidth_gb_s: Positive
    """Best of repeated copies far larger than the caches, reads and writes counted (STREAM)."""

    def better_of(self, other: MachinePeak) -> MachinePeak:
        """The best of both, of one machine."""
        names = self.gemm_gflops.keys() | other.gemm_gflops.keys()
        return MachinePeak(
            threads=self.threads,
            gemm_gflops={
                name: max(each.gemm_gflops.get(name, 0.0) for each in (self, other))
                for name in sorted(names)
            },
            bandwidth_gb_s=max(self.bandwidth_gb_s, other.bandwidth_gb_s),
        )


class Extra(Record):
    """How a measurement besides training ended; see ``harness.execution.extras``."""

    state: Literal["done", "failed", "missing"] = "missing"
    message: str = ""
    """Why it failed."""
    session: str = ""
    """Equal where it was measured side by side; another where a resumed run made up for it."""


class CellResult(Record):
    """One trained network. Any status but 'ok' has ``error`` and whatever was reached.

    'timeout': a phase took longer than its limit; 'diverged': losses, logits or weights were not
    finite.
    """

    schema_version: Literal[1] = 1
    cell: Cell
    status: Literal["ok", "failed", "timeout", "diverged"] = "ok"
    error: str | None = None
    started: str
    """ISO 8601, UTC."""
    session: str = ""
    """Of the worker processes that were started together and interleaved: only their rounds make
    pairs. Before the ``/`` the invocation of the harness; see ``RunFolder.environments``. Empty in
    results from before it was recorded."""
    earlier: dict[str, AtLeastOne] = {}
    """Of a training that went on from a checkpoint: the sessions before ``session``, in order, and
    how many epochs, from the first on, were trained in each. Their speeds belong to these."""
    phases: Phases | None = None
    warm_up: WarmUp | None = None
    """Between the cold start and the first epoch; None in results from before it was recorded."""
    epochs: tuple[Epoch, ...] = ()
    test: FinalScore | None = None
    identity: Identity | None = None
    parameters: Count = 0
    """Trainable ones."""
    adapted: tuple[str, ...] = ()
    """Parameters that do not start as in the file of initial weights; see ``protocol.transfer``."""
    peak_rss_bytes: Count = 0
    """Largest resident set of the worker process."""
    facts: dict[str, str] = {}
    """Versions and settings as the framework itself reports them, in its own process."""
    warm_start: WarmStart | None = None
    """``phases`` are of the first start, whose caches were empty."""
    restarts: tuple[Restart, ...] = ()
    extra_rounds: tuple[Round, ...] = ()
    """Timed after training, where more rounds were asked for than there are epochs."""
    inference: tuple[Latency, ...] = ()
    operations: dict[Operation, NotNegative] = {}
    """Seconds of one epoch by operation, from the framework's own profiler."""
    extras: dict[str, Extra] = {}
    """By name, what was asked for besides training; empty in runs that did not record it."""

    @model_validator(mode="after")
    def _has_the_earlier_epochs(self) -> Self:
        if sum(self.earlier.values()) > len(self.epochs):
            raise ValueError("earlier sessions have more epochs than there are")
        return self

    @property
    def outcome(self) -> str:
        """``status`` in words: of what did not end well, 'failed', 'timed out' or 'diverged'."""
        return "timed out" if self.status == "timeout" else self.status

    @property
    def unfinished(self) -> dict[str, Extra]:
        """What was asked for besides training and is not there."""
        return {name: extra for name, extra in self.extras.items() if extra.state != "done"}

    @property
    def rounds(self) -> tuple[Epoch | Round, ...]:
        """Everything that the training clock read, in order."""
        return (*self.epochs, *self.extra_rounds)

    @property
    def numbered(self) -> dict[str, dict[int, Epoch | Round]]:
        """The rounds of every fresh start by its session, and there by their number from 0.

        Those of the training itself come first. Rounds of one session and number were measured
        side by side.
        """
        found: dict[str, dict[int, Epoch | Round]] = {}
        first = 0
        for session, count in self.earlier.items():
            found[session] = dict(enumerate(self.epochs[first : first + count], first))
            first += count
        found.setdefault(self.session, {}).update(enumerate(self.epochs[first:], first))
        if self.extra_rounds:
            # Of another session where a resumed run made up for them.
            session = self.extras.get("rounds", Extra()).session or self.session
            extra = enumerate(self.extra_rounds, len(self.epochs))
            found.setdefault(session, {}).update(extra)
        for restart in self.restarts:
            found[restart.session] = dict(enumerate(restart.rounds))
        return found

    @property
    def sessions(self) -> dict[str, tuple[Epoch | Round, ...]]:
        """The rounds of every fresh start by its session: of the training itself first."""
        return {name: tuple(rounds.values()) for name, rounds in self.numbered.items()}

    @property
    def starts(self) -> tuple[tuple[Epoch | Round, ...], ...]:
        """The rounds of every fresh start."""
        return tuple(self.sessions.values())

    @property
    def epoch_seconds(self) -> np.ndarray:
        """float64 (epochs,)"""
        return np.array([epoch.seconds for epoch in self.epochs])

    @property
    def round_seconds(self) -> np.ndarray:
        """float64 (rounds,)"""
        return np.array([each.seconds for each in self.rounds])

    @property
    def images_per_second(self) -> np.ndarray:
        """float64 (rounds,), training throughput round by round."""
        return np.array([each.images / each.seconds for each in self.rounds])


def counted_rounds(results: Iterable[CellResult]) -> list[tuple[Epoch | Round, ...]]:
    """Undisturbed rounds of every start that has any; where none has, all rounds."""
    starts = [start for result in results for start in result.starts if start]
    kept = [tuple(each for each in start if not each.disturbed) for start in starts]
    return [start for start in kept if start] or starts

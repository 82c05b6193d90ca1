"""A timer for pytest-benchmark that shows what the workers measured."""

from __future__ import annotations

from collections.abc import Iterable


class ReplayTimer:
    """Replays rounds that were measured elsewhere.

    Frameworks are interleaved, so the rounds of one benchmark are spread over the rounds of
    others, and the seconds are read inside the worker, around the training alone. pytest-benchmark
    wants to time a call; it gets this timer, and a call that advances it by one round.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._rounds: list[float] = []

    def seconds(self) -> float:
        """The present reading: a ``timer`` for pytest-benchmark."""
        return self._now

    def load(self, rounds: Iterable[float]) -> None:
        """Set the rounds, in seconds, to be replayed next; the reading goes back to zero."""
        self._rounds = list(rounds)[::-1]
        self._now = 0.0  # differences of small readings keep their digits

    def play_round(self) -> None:
        """Let one round pass."""
        self._now += self._rounds.pop()

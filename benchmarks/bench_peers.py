"""Our rows against the plain public style of each framework: same model, batch size and data.

pytest benchmarks/bench_peers.py --frameworks torch,jax --datasets mnist --batch-size 128
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.measure.clocks import RoundClock
from harness.plugins import backends

CLOCK = RoundClock()


@pytest.mark.benchmark(timer=CLOCK.seconds)
def test_peers(
    row: str, in_turns: Callable[..., dict[str, list[float]]], benchmark: BenchmarkFixture
) -> None:
    seconds = in_turns("peers", row, against=f"{backends()[row].family.name}, public style")
    CLOCK.load(seconds[row])
    benchmark.pedantic(CLOCK.play_round, rounds=len(seconds[row]), iterations=1)

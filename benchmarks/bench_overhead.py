"""What the harness costs: its epoch against the same step in a bare loop on data in memory.

pytest benchmarks/bench_overhead.py --frameworks torch,jax --datasets mnist --batch-size 128
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.measure.clocks import RoundClock

CLOCK = RoundClock()


@pytest.mark.benchmark(timer=CLOCK.seconds)
def test_overhead(
    row: str, in_turns: Callable[..., dict[str, list[float]]], benchmark: BenchmarkFixture
) -> None:
    seconds = in_turns("overhead", row, against=f"{row}, bare")
    CLOCK.load(seconds[row])
    benchmark.pedantic(CLOCK.play_round, rounds=len(seconds[row]), iterations=1)

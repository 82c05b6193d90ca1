"""What the harness costs: its epoch against the same step in a bare loop on data in memory.

pytest benchmarks/bench_overhead.py --frameworks torch,jax --datasets mnist --batch-size 128
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.measure.replay import ReplayTimer

TIMER = ReplayTimer()


@pytest.mark.benchmark(timer=TIMER.seconds)
def test_overhead(
    variant: str, interleaved: Callable[..., dict[str, list[float]]], benchmark: BenchmarkFixture
) -> None:
    seconds = interleaved("overhead", variant, against=f"{variant}, bare")
    TIMER.load(seconds[variant])
    benchmark.pedantic(TIMER.play_round, rounds=len(seconds[variant]), iterations=1)

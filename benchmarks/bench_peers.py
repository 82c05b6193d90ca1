"""Our rows against the plain public style of each framework: same model, batch size and data.

pytest benchmarks/bench_peers.py --frameworks torch,jax --datasets mnist --batch-size 128
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.measure.replay import ReplayTimer
from harness.plugins import find_backend

TIMER = ReplayTimer()


@pytest.mark.benchmark(timer=TIMER.seconds)
def test_peers(
    variant: str, interleaved: Callable[..., dict[str, list[float]]], benchmark: BenchmarkFixture
) -> None:
    family = find_backend(variant).family.name
    seconds = interleaved("peers", variant, against=f"{family}, public style")
    TIMER.load(seconds[variant])
    benchmark.pedantic(TIMER.play_round, rounds=len(seconds[variant]), iterations=1)

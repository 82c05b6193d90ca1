from __future__ import annotations

from itertools import pairwise

import pytest

from harness.measure.clocks import RoundClock


def test_a_clock_replays_its_rounds():
    clock = RoundClock()
    for rounds in ([0.5, 0.25, 2.0], [3.0]):
        clock.load(rounds)
        readings = [clock.seconds()]
        for _ in rounds:
            clock.play_round()
            readings.append(clock.seconds())
        steps = [after - before for before, after in pairwise(readings)]
        assert steps == rounds
        assert readings[0] == 0
    with pytest.raises(IndexError):
        clock.play_round()

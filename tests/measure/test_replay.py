from __future__ import annotations

from itertools import pairwise

import pytest

from harness.measure.replay import ReplayTimer


def test_the_timer_replays_its_rounds():
    timer = ReplayTimer()
    for rounds in ([0.5, 0.25, 2.0], [3.0]):
        timer.load(rounds)
        readings = [timer.seconds()]
        for _ in rounds:
            timer.play_round()
            readings.append(timer.seconds())
        steps = [after - before for before, after in pairwise(readings)]
        assert steps == rounds
        assert readings[0] == 0
    with pytest.raises(IndexError):
        timer.play_round()

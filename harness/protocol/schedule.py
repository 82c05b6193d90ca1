"""Learning rates, one a step, computed once for every framework."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Schedule = Literal["constant", "cosine", "one-cycle"]

_WARM_UP = 0.3  # share of the steps that climb
_START = 1 / 25  # of the peak
_END = 1e-4 / 25  # of the peak


def learning_rates(schedule: Schedule, peak: float, steps: int) -> NDArray[np.float64]:
    """Learning rate of every step, float64 (steps,).

    * constant: ``peak`` throughout.
    * cosine: half a cosine from ``peak`` towards 0 (Loshchilov & Hutter 2017, without restarts).
    * one-cycle: cosine climb from peak/25 over the first 30 % of the steps, then cosine descent
      to peak/250000 (Smith & Topin 2018, with the usual defaults).
    """
    if schedule == "constant":
        return np.full(steps, peak)
    if schedule == "cosine":
        return peak * _half_cosine(1.0, 0.0, np.arange(steps) / steps)
    step = np.arange(steps, dtype=np.float64)
    top = _WARM_UP * steps - 1  # where the climb ends; may lie between two steps
    up = _half_cosine(_START, 1.0, step / top)
    down = _half_cosine(1.0, _END, (step - top) / (steps - 1 - top))
    return peak * np.where(step <= top, up, down)


def _half_cosine(start: float, end: float, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    return end + (start - end) * (1 + np.cos(np.pi * progress)) / 2

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from harness.protocol.schedule import learning_rates


def test_constant():
    assert learning_rates("constant", 0.3, 4).tolist() == [0.3] * 4


def test_cosine():
    expected = [0.2 * (math.cos(math.pi * step / 10) + 1) / 2 for step in range(10)]
    np.testing.assert_allclose(learning_rates("cosine", 0.2, 10), expected, rtol=1e-12)


def test_one_cycle_by_hand():
    """100 steps: from peak/25 to the peak at step 29, from there to peak/250000 at step 99."""
    expected = []
    for step in range(100):
        if step <= 29:
            low, share = 1 / 25, (1 - math.cos(math.pi * step / 29)) / 2
        else:
            low, share = 4e-6, (1 + math.cos(math.pi * (step - 29) / 70)) / 2
        expected.append(0.5 * (low + (1 - low) * share))
    rates = learning_rates("one-cycle", 0.5, 100)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
    assert rates.argmax() == 29
    assert rates[29] == 0.5


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 17])
def test_one_finite_rate_a_step(schedule, steps):
    rates = learning_rates(schedule, 0.05, steps)
    assert rates.shape == (steps,)
    assert rates.dtype == np.float64
    assert ((rates > 0) & (rates <= 0.05)).all()


_IN_TORCH = """
import json, sys, torch
everything = []
for steps in json.loads(sys.argv[1]):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=steps, cycle_momentum=False
    )
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    everything.append(rates)
print(json.dumps(everything))
"""


def test_one_cycle_is_pytorchs(python, ready):
    ready("torch")
    lengths = [1, 2, 3, 5, 10, 44, 333]
    done = python("-c", _IN_TORCH, json.dumps(lengths))
    assert done.returncode == 0, done.stderr
    for steps, theirs in zip(lengths, json.loads(done.stdout), strict=True):
        np.testing.assert_allclose(learning_rates("one-cycle", 0.5, steps), theirs, rtol=1e-9)

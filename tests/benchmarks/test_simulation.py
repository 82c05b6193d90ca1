"""The simulation that docs/ci.md quotes, with few trials: coverage, false alarms and power."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from harness.paths import benchmarks_dir


@pytest.fixture(scope="module")
def simulated():
    path = benchmarks_dir() / "simulate_intervals.py"
    spec = importlib.util.spec_from_file_location("simulate_intervals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("starts", "count"), [(1, 12), (2, 6), (3, 12), (5, 20)])
def test_report_intervals_cover_what_they_say(simulated, starts, count):
    found = simulated.report_coverage(
        np.random.default_rng(0), 300, starts, count, spread=0.03, others=starts > 1
    )
    assert 0.89 <= found <= 0.99


def test_the_fastest_of_several_equals_is_hardly_ever_called_so(simulated):
    random = np.random.default_rng(0)
    for starts in (1, 3):
        assert simulated.ranking_alarms(random, 100, 5, starts, 12, spread=0.03) <= 0.12


def test_the_gate_notices_a_slowdown_and_raises_no_false_alarm(simulated):
    random = np.random.default_rng(0)
    for between in (0.0, 0.5):
        how = {"spread": 0.03, "between": between}
        assert simulated.gate(random, 100, 5, 12, slowdown=1.15, **how)[0] >= 0.9
        assert simulated.gate(random, 100, 5, 12, **how)[0] <= 0.04


@pytest.mark.parametrize("images", [1, 4])
def test_auroc_intervals_cover_with_ten_positives(simulated, images):
    random = np.random.default_rng(0)
    found = simulated.auroc_coverage(random, 300, 10, 0.75, images=images)
    assert 0.91 <= found <= 0.99


def test_mean_auroc_intervals_cover_where_labels_are_rare(simulated):
    """By Hanley and McNeil's formula at each rare label's own area it was 99.4."""
    found = simulated.mean_auroc_coverage(np.random.default_rng(0), 300, 100, 0.95, 0.95)
    assert 0.93 <= found <= 0.98


def test_every_line_is_printed(simulated):
    lines = list(simulated.tables(2, 0.03, 0.5))
    assert sum(line.startswith("\n") for line in lines) == 9

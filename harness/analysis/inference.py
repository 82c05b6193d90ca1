"""Inference: throughput and latency by batch size."""

from __future__ import annotations

import numpy as np

from harness.analysis.run import Outcome, Workload
from harness.results.records import Latency

PERCENTILES = (50, 90, 99)


def latencies(outcome: Outcome) -> dict[int, Latency]:
    """By batch size, of the seed that was timed; empty where none was."""
    for cell in outcome.trained.values():
        if cell.result.inference:
            return {latency.batch_size: latency for latency in cell.result.inference}
    return {}


def timed(workload: Workload) -> tuple[Outcome, ...]:
    """Variants whose inference was timed."""
    return tuple(outcome for outcome in workload.finished if latencies(outcome))


def sizes(workload: Workload) -> list[int]:
    """Batch sizes that any variant was timed at."""
    return sorted({size for outcome in timed(workload) for size in latencies(outcome)})


def images_per_second(latency: Latency) -> float:
    """From the median call."""
    return latency.batch_size / float(np.median(latency.seconds))


def milliseconds(latency: Latency, percentile: int) -> float:
    return 1e3 * float(np.percentile(latency.seconds, percentile))

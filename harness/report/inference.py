"""Answering: images a second and latency over batch sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness.analysis.comparison import Group, Outcome
from harness.report.text import NOTHING, escape, number, table
from harness.results.records import Latency

PERCENTILES = (50, 90, 99)


def latencies(outcome: Outcome) -> dict[int, Latency]:
    """By batch size, of the seed that was timed; empty where none was."""
    for cell in outcome.trained.values():
        if cell.result.inference:
            return {latency.batch_size: latency for latency in cell.result.inference}
    return {}


def timed(group: Group) -> tuple[Outcome, ...]:
    """Frameworks whose answers were timed."""
    return tuple(outcome for outcome in group.finished if latencies(outcome))


def sizes(group: Group) -> list[int]:
    return sorted({size for outcome in timed(group) for size in latencies(outcome)})


def throughput(group: Group) -> str:
    """Images a second, from the median call: one row a framework, one column a batch size."""
    rows = [
        [
            escape(outcome.title),
            *(_cell(latencies(outcome).get(size), images_per_second) for size in sizes(group)),
        ]
        for outcome in timed(group)
    ]
    header = ["Framework, images/s", *(f"batch {size}" for size in sizes(group))]
    return table(header, rows, align="l" + "r" * len(sizes(group)))


def percentiles(group: Group) -> str:
    """Milliseconds of a call: one row a framework and batch size."""
    header = ["Framework", "Batch", "Calls", "First call, ms"]
    header += [f"{percentile}th percentile, ms" for percentile in PERCENTILES]
    rows = []
    for outcome in timed(group):
        for size, latency in latencies(outcome).items():
            found = [
                NOTHING if (seconds := latency.percentile(p)) is None else number(1e3 * seconds)
                for p in PERCENTILES
            ]
            calls = f"{len(latency.seconds):,}"
            first = number(1e3 * latency.first_s)
            rows.append([escape(outcome.title), f"{size:,}", calls, first, *found])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def images_per_second(latency: Latency) -> float:
    return latency.batch_size / float(np.median(latency.seconds))


def milliseconds(latency: Latency, percentile: int) -> float:
    return 1e3 * float(np.percentile(latency.seconds, percentile))


def _cell(latency: Latency | None, value: object) -> str:
    return NOTHING if latency is None else number(images_per_second(latency))


def curves(group: Group, colors: Sequence[str], width: float) -> Figure:
    """Left images a second by batch size, right the median latency with its 90th percentile."""
    figure = Figure(figsize=(width, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for outcome in timed(group):
        color = colors[group.finished.index(outcome) % len(colors)]
        found = sorted(latencies(outcome).items())
        batches = [size for size, _ in found]
        rates = [images_per_second(latency) for _, latency in found]
        left.plot(batches, rates, "o-", color=color, markersize=4, label=outcome.title)
        middle, upper = ([milliseconds(latency, p) for _, latency in found] for p in (50, 90))
        right.plot(batches, middle, "o-", color=color, markersize=4)
        right.fill_between(batches, middle, upper, color=color, alpha=0.2, linewidth=0)
    for axes, label in (
        (left, "images per second (more is better)"),
        (right, "ms a call, median to 90th percentile"),
    ):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("images in a call")
        axes.set_ylabel(label)
        axes.set_xticks(sizes(group), [str(size) for size in sizes(group)])
        axes.tick_params(axis="x", labelsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _plain(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"

"""Inference: throughput and latency by batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.inference import (
    PERCENTILES,
    images_per_second,
    latencies,
    milliseconds,
    sizes,
    timed,
)
from harness.analysis.run import Workload
from harness.analysis.summary import WorkloadSummary
from harness.report.section import Drawing, drawing, folded, for_workloads, paragraphs
from harness.report.style import style_of
from harness.report.text import NOTHING, escape, number, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def body(each: WorkloadSummary) -> str:
    pictures = [figure.markdown for figure in figures(each)]
    calls = folded("Latency, batch size by batch size", percentiles(each.workload))
    return paragraphs(throughput(each.workload), *pictures, calls)


def throughput(workload: Workload) -> str:
    """Images a second, from the median call: one row a variant, one column a batch size."""
    rows = []
    for outcome in timed(workload):
        found = [latencies(outcome).get(size) for size in sizes(workload)]
        cells = [NOTHING if each is None else number(images_per_second(each)) for each in found]
        rows.append([escape(outcome.title), *cells])
    header = ["Variant, images/s", *(f"batch {size}" for size in sizes(workload))]
    return table(header, rows, align="l" + "r" * len(sizes(workload)))


def percentiles(workload: Workload) -> str:
    """Milliseconds of a call: one row a variant and batch size."""
    header = ["Variant", "Batch", "Calls", "First call, ms"]
    header += [f"{percentile}th percentile, ms" for percentile in PERCENTILES]
    rows = []
    for outcome in timed(workload):
        for size, latency in latencies(outcome).items():
            found = [
                NOTHING if (seconds := latency.percentile(p)) is None else number(1e3 * seconds)
                for p in PERCENTILES
            ]
            calls = f"{len(latency.seconds):,}"
            first = number(1e3 * latency.first_s)
            rows.append([escape(outcome.title), f"{size:,}", calls, first, *found])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def figures(each: WorkloadSummary) -> list[Drawing]:
    alt = "Images per second and latency of inference by batch size"
    return [drawing(each.workload, "inference", alt, lambda: curves(each.workload))]


def curves(workload: Workload) -> Figure:
    """Left images a second by batch size, right the median latency with its 90th percentile."""
    from harness.report import plotting

    figure = plotting.new_figure(3.9)
    left, right = figure.subplots(1, 2)
    for outcome in timed(workload):
        style = style_of(outcome.framework)
        look = {"color": style.color, "marker": style.marker, "markersize": 4}
        found = sorted(latencies(outcome).items())
        batches = [size for size, _ in found]
        left.plot(batches, [images_per_second(latency) for _, latency in found], **look)
        middle, upper = ([milliseconds(latency, p) for _, latency in found] for p in (50, 90))
        right.plot(batches, middle, **look)
        right.fill_between(batches, middle, upper, color=style.color, alpha=0.2, linewidth=0)
    for axes, label in (
        (left, "images per second (more is better)"),
        (right, "ms a call, median to 90th percentile"),
    ):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("images in a call")
        axes.set_ylabel(label)
        axes.set_xticks(sizes(workload), [str(size) for size in sizes(workload)])
        axes.tick_params(axis="x", labelsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(plotting.PLAIN)
    plotting.legend(figure, timed(workload), columns=3, markers=True)
    return figure


SECTION = for_workloads(
    title="Inference: throughput and latency",
    applies=lambda each: bool(timed(each.workload)),
    body=body,
    figures=figures,
    intro="One batch of images in memory, again and again, until its logits are in memory too.",
)

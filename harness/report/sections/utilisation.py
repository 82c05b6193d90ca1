"""Hardware utilisation: share of the machine's matrix product, roofline, energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.analysis.utilisation import (
    gflops,
    intensity,
    joules_per_image,
    measured,
    peak_gflops,
    scaled,
    work,
)
from harness.report import charts
from harness.report.section import Drawing, drawing, for_workloads, paragraphs
from harness.report.style import style_of
from harness.report.text import (
    NOTHING,
    escape,
    interval_name,
    number,
    percent,
    plural,
    speed,
    table,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def body(each: WorkloadSummary) -> str:
    return paragraphs(machine(each), shares(each), *(f.markdown for f in figures(each)))


def machine(each: WorkloadSummary) -> str:
    """What the machine can do, and what the network asks for."""
    peak, training = each.run.machine, each.run.manifest.experiment.training
    assert peak is not None
    return (
        "The best matrix product of this run, NumPy's BLAS on "
        f"{plural(peak.threads, 'thread')} in {training.precision}, reached "
        f"{number(peak_gflops(each.run))} GFLOP/s; copying memory {number(peak.bandwidth_gb_s)} "
        "GB/s (read and written). Training on one image takes "
        f"{work(each.workload) / 1e6:,.2f} million floating-point operations, "
        f"{number(intensity(each.workload, training))} for each byte that computing layer by layer "
        "would move."
    )


def shares(each: WorkloadSummary) -> str:
    """One row a variant."""
    energy = [joules_per_image(outcome) for outcome in each.workload.finished]
    header = [
        "Variant",
        f"GFLOP/s ({interval_name()})",
        "Share of the matrix product",
        "Peak memory, MiB",
    ]
    with_energy = any(estimate is not None for estimate in energy)
    if with_energy:
        header.append(f"Energy, mJ an image ({interval_name()})")
    rows = []
    for outcome, joules in zip(each.workload.finished, energy, strict=True):
        reached = gflops(each.workload, outcome)
        row = [
            escape(outcome.title),
            speed(reached),
            percent(reached.value / peak_gflops(each.run), 1),
            number(outcome.peak_mib),
        ]
        if with_energy:
            row.append(NOTHING if joules is None else speed(scaled(joules, 1e3)))
        rows.append(row)
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def figures(each: WorkloadSummary) -> list[Drawing]:
    alt = "Roofline of the machine with the speed of each variant"
    return [
        drawing(each.workload, "roofline", alt, lambda: roofline(each), lambda: shares_chart(each))
    ]


def shares_chart(each: WorkloadSummary) -> charts.Chart:
    """Shares of the matrix product."""
    outcomes, peak = each.workload.finished, peak_gflops(each.run)
    values = [100 * gflops(each.workload, outcome).value / peak for outcome in outcomes]
    return charts.bars(outcomes, values, "share of the matrix product, %")


def roofline(each: WorkloadSummary) -> Figure:
    """Speed over intensity: what memory and arithmetic allow, and where the variants are."""
    from harness.report import plotting

    assert each.run.machine is not None
    peak, bandwidth = peak_gflops(each.run), each.run.machine.bandwidth_gb_s
    here = intensity(each.workload, each.run.manifest.experiment.training)
    ridge = peak / bandwidth
    figure = plotting.new_figure(4.2)
    axes: Axes = figure.subplots()
    x = np.geomspace(min(here, ridge) / 8, max(here, ridge) * 8, 200)
    axes.plot(x, np.minimum(peak, bandwidth * x), color="black", linewidth=1.6)
    axes.annotate(
        f"matrix product: {number(peak)} GFLOP/s", (x[-1], peak), xytext=(0, 5),
        textcoords="offset points", ha="right", va="bottom",
    )  # fmt: skip
    axes.annotate(
        f"memory: {number(bandwidth)} GB/s", (x[0], bandwidth * x[0]), xytext=(14, 0),
        textcoords="offset points", ha="left", va="center",
    )  # fmt: skip
    lowest = peak
    for outcome in each.workload.finished:
        reached, style = gflops(each.workload, outcome).value, style_of(outcome.framework)
        lowest = min(lowest, reached)
        axes.plot(
            here, reached, style.marker, color=style.color, markersize=9, markeredgecolor="white",
            label=f"{outcome.title}: {number(reached)} GFLOP/s",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plotting.PLAIN)
    axes.set_ylim(min(lowest, bandwidth * x[0]) / 2, peak * 2)
    axes.set_xlabel("floating-point operations for each byte, layer by layer")
    axes.set_ylabel("GFLOP/s (more is better)")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Share of the matrix product**: the operations of the network's own definition, forward "
        "and backward, over time and over the fastest square matrix product of this run. Work that "
        "a framework adds or avoids does not count. The roofline's slope is memory copied at full "
        "speed, its x-axis the traffic of computing layer by layer from memory; one that keeps "
        "results in caches may lie above it."
    ]


SECTION = for_workloads(
    title="Hardware utilisation",
    applies=lambda each: measured(each.run, each.workload),
    body=body,
    figures=figures,
    terms=terms,
)

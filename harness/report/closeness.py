"""How close the frameworks come to what the machine can do: work, memory, energy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from harness.analysis.comparison import Group, Outcome, Run, speed_estimate
from harness.config import Training
from harness.report.text import NOTHING, escape, number, percent, speed, table
from harness.results.records import MachinePeak
from harness.stats.statistics import Estimate

ITEMSIZE = {"float32": 4, "float64": 8}


def measured(run: Run, group: Group) -> bool:
    """Whether there is anything to tell: runs of earlier versions did not measure the machine."""
    return run.machine is not None and group.card is not None and bool(group.finished)


def peak_gflops(run: Run) -> float:
    """The machine's best matrix product of this run, in its precision, 1e9 operations a second.

    A clock that rises later in the run counts too: the peak is the best of all that was seen.
    """
    assert run.machine is not None
    seen = [
        each.conditions.gemm_gflops
        for _, _, cell in run.cells
        for rounds in cell.starts.values()
        for each in rounds
        if each.conditions is not None
    ]
    return max(run.machine.gemm_gflops[run.manifest.experiment.training.precision], *seen, 0.0)


def work(group: Group) -> int:
    """Floating-point operations of training on one image."""
    assert group.card is not None
    return group.card.training_flops(group.entry.image_shape, len(group.entry.classes))


def intensity(group: Group, training: Training) -> float:
    """Operations for each byte of memory moved, layer by layer."""
    assert group.card is not None
    moved = group.card.training_bytes(
        group.entry.image_shape,
        len(group.entry.classes),
        training.batch_size,
        ITEMSIZE[training.precision],
    )
    return work(group) / moved


def summary(run: Run, group: Group) -> str:
    """What the machine can do, and what the network asks for."""
    assert run.machine is not None
    training = run.manifest.experiment.training
    machine: MachinePeak = run.machine
    return (
        f"The best matrix product of this run, NumPy's BLAS on {machine.threads} "
        f"{'thread' if machine.threads == 1 else 'threads'} in {training.precision}, reached "
        f"{number(peak_gflops(run))} GFLOP/s; copying memory {number(machine.bandwidth_gb_s)} GB/s "
        f"(read and written). Training on one image takes {work(group) / 1e6:,.2f} million "
        f"floating-point operations, {number(intensity(group, training))} for each byte that "
        "computing layer by layer would move."
    )


def shares(run: Run, group: Group) -> str:
    """One row a framework."""
    energy = [joules_per_image(outcome) for outcome in group.finished]
    header = ["Framework", "GFLOP/s (95 %)", "Share of the matrix product", "Peak memory, MiB"]
    if any(estimate is not None for estimate in energy):
        header.append("Energy, mJ an image (95 %)")
    rows = []
    for outcome, joules in zip(group.finished, energy, strict=True):
        reached = gflops(group, outcome)
        row = [
            escape(outcome.title),
            speed(reached),
            percent(reached.value / peak_gflops(run), 1),
            number(outcome.peak_mib),
        ]
        if len(header) > len(row):
            row.append(NOTHING if joules is None else speed(_scaled(joules, 1e3)))
        rows.append(row)
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def gflops(group: Group, outcome: Outcome) -> Estimate:
    """1e9 operations of the card a second: what a framework computes besides does not count."""
    return _scaled(outcome.speed, work(group) / 1e9)


def joules_per_image(outcome: Outcome) -> Estimate | None:
    """Of the processor packages, other programs' share included; None where not readable."""
    spent = [
        np.log(
            [
                each.conditions.energy_j / each.images
                for each in rounds
                if each.conditions is not None and each.conditions.energy_j
            ]
        )
        for cell in outcome.trained.values()
        for rounds in cell.starts.values()
    ]
    known = [start for start in spent if len(start)]
    return speed_estimate(known) if known else None


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(*(factor * value for value in estimate))


def roofline(run: Run, group: Group, colors: Sequence[str], width: float) -> Figure:
    """Speed over intensity: what memory and arithmetic allow, and where the frameworks are."""
    assert run.machine is not None
    peak, bandwidth = peak_gflops(run), run.machine.bandwidth_gb_s
    here = intensity(group, run.manifest.experiment.training)
    ridge = peak / bandwidth
    figure = Figure(figsize=(width, 4.2), layout="constrained")
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
    for place, outcome in enumerate(group.finished):
        reached = gflops(group, outcome).value
        lowest = min(lowest, reached)
        axes.plot(
            here,
            reached,
            "o",
            color=colors[place % len(colors)],
            markersize=9,
            markeredgecolor="white",
            label=f"{outcome.title}: {number(reached)} GFLOP/s",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(min(lowest, bandwidth * x[0]) / 2, peak * 2)
    axes.set_xlabel("floating-point operations for each byte, layer by layer")
    axes.set_ylabel("GFLOP/s (more is better)")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure

"""What made a run noisy, as far as it shows: rounds that drift or jump, other work, heat, swap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from harness.analysis.comparison import Group, Outcome, Run, Trained
from harness.measure.conditions import Conditions, mean_other_load
from harness.report.text import escape, join, number, plural
from harness.stats import noise

OTHER_LOAD = 0.1
"""Processors kept busy by something else, of each that the run uses, that a reader must know of."""
CLOCK = 1.1
"""Largest over smallest clock of one training."""
GEMM = 1.25
"""Upper over lower decile of the machine's own matrix product in one run."""


def findings(run: Run, group: Group) -> Iterator[str]:
    """Sentences of Markdown on one group."""
    threads = run.manifest.experiment.threads
    for outcome in group.finished:
        yield from _rounds(group, outcome)
    looks: tuple[Callable[[Group, int], Iterator[str]], ...] = (
        _other_load, _clock, _machine, _heat, _swap,
    )  # fmt: skip
    for look in looks:
        yield from look(group, threads)


def _rounds(group: Group, outcome: Outcome) -> Iterator[str]:
    """What the speeds of one framework show by themselves."""
    where = f"{escape(outcome.title)}, {escape(group.title)}"
    drifts = {
        seed: change
        for seed, cell in outcome.trained.items()
        if (change := noise.drift(cell.images_per_second)) is not None
    }
    if drifts:
        worst = max(drifts.values(), key=abs)
        yield (
            f"**Drift**: {where}, {_seeds(drifts)}: speed {'rose' if worst > 0 else 'fell'} by "
            f"{100 * abs(worst):.0f} % from the first round to the last."
        )
    split = {
        seed: found
        for seed, cell in outcome.trained.items()
        if (found := noise.two_speeds(cell.images_per_second)) is not None
    }
    if split:
        seed, found = max(split.items(), key=lambda item: item[1].faster / item[1].slower)
        yield (
            f"**Two speeds**: {where}, {_seeds(split)}: rounds fall into two clusters, around "
            f"{number(found.slower)} and {number(found.faster)} images a second (seed {seed}, "
            f"{100 * found.share:.0f} % of them slow); a median between them is neither."
        )
    slow = sum(noise.outliers(cell.images_per_second) for cell in outcome.trained.values())
    rounds = sum(len(cell.result.rounds) for cell in outcome.trained.values())
    if slow > 0.1 * rounds:
        yield f"**Outliers**: {where}: {slow} of {plural(rounds, 'round')} lie far from the median."


def _seeds(found: Iterable[int]) -> str:
    seeds = [str(seed) for seed in found]
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {join(seeds)}"


def _other_load(group: Group, threads: int) -> Iterator[str]:
    loaded = []
    for outcome in group.finished:
        mean = mean_other_load(
            (each.seconds, each.conditions)
            for cell in outcome.trained.values()
            for each in cell.result.rounds
        )
        if mean is not None and mean > OTHER_LOAD * threads:
            loaded.append(f"{escape(outcome.title)} {mean:.2f}")
    if loaded:
        yield (
            f"**Other load**: while {escape(group.title)} trained, other work kept so many of the "
            f"{plural(threads, 'processor')} busy on average: {join(loaded)}. It slows them "
            "unequally: threads that wait actively lose most."
        )


def _clock(group: Group, threads: int) -> Iterator[str]:
    varied = []
    for outcome in group.finished:
        clocks = [
            c.clock_mhz
            for cell in outcome.trained.values()
            for c in _conditions(cell)
            if c.clock_mhz is not None
        ]
        if clocks and max(clocks) > CLOCK * min(clocks):
            low, high = number(min(clocks), 4), number(max(clocks), 4)
            varied.append(f"{escape(outcome.title)} {low} to {high} MHz")
    if varied:
        yield f"**Clock**: {escape(group.title)}: the processors' clock changed: {join(varied)}."


def _machine(group: Group, threads: int) -> Iterator[str]:
    speeds = [c.gemm_gflops for cell in _cells(group) for c in _conditions(cell)]
    if len(speeds) < noise.MINIMUM_ROUNDS:
        return
    low, high = np.quantile(speeds, (0.1, 0.9))
    if high > GEMM * low:
        yield (
            f"**The machine itself varied**: {escape(group.title)}: the same matrix product, "
            f"timed before each round, ran at {number(float(low))} to {number(float(high))} "
            "GFLOP/s (10th to 90th percentile)."
        )


def _heat(group: Group, threads: int) -> Iterator[str]:
    count = sum(c.throttled or 0 for cell in _cells(group) for c in _conditions(cell))
    if count:
        yield (
            f"**Heat**: {escape(group.title)}: the processor slowed itself down "
            f"{plural(count, 'time')} because of heat."
        )


def _swap(group: Group, threads: int) -> Iterator[str]:
    moved = sum(c.swapped_bytes or 0 for cell in _cells(group) for c in _conditions(cell))
    if moved:
        yield (
            f"**Swap**: {escape(group.title)}: {moved / 2**20:,.1f} MiB went to or from swap while "
            "training was timed."
        )


def _cells(group: Group) -> list[Trained]:
    return [cell for outcome in group.finished for cell in outcome.trained.values()]


def _conditions(cell: Trained) -> list[Conditions]:
    return [each.conditions for each in cell.result.rounds if each.conditions is not None]

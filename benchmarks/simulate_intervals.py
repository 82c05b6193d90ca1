"""Coverage and false positive rates of every interval and gate, simulated: seconds, no training.

    python benchmarks/simulate_intervals.py [--trials N] [--spread X] [--between-runs X]

Speeds are made up as logarithms: every fresh start has an offset (normal, --spread), of whose
variance a share belongs to the run (--between-runs); rounds add first-order autoregressive noise of
2 %. Nominal coverage is 95 %. Everything is computed by the functions that reports and gates use.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.baseline import Baseline
from harness.analysis.gate import MAX_SLOWDOWN, MOST_UNCERTAIN, check_metrics
from harness.analysis.speed import RUN_TO_RUN, Speed, ratio, ratio_to_runs
from harness.config import Training
from harness.plan import Cell
from harness.results.records import CellResult, FinalScore
from harness.stats.statistics import (
    MINIMUM_POSITIVES,
    Estimate,
    Ranking,
    centre_of,
    exponential,
    mcnemar,
    mean_accuracy,
)

ROUNDS = (6, 12, 20)
STARTS = (1, 2, 3, 5)
ROUND_NOISE = 0.02
AUTOCORRELATION = 0.5
Random = np.random.Generator


def rounds(random: Random, count: int, correlation: float = AUTOCORRELATION) -> NDArray[np.float64]:
    """(count,): AR(1) noise of standard deviation ``ROUND_NOISE``."""
    noise = random.standard_normal(count)
    for place in range(1, count):
        noise[place] = correlation * noise[place - 1] + math.sqrt(1 - correlation**2) * noise[place]
    return ROUND_NOISE * noise


def run(
    random: Random, starts: int, count: int, *, spread: float, between: float = 0.0
) -> list[NDArray[np.float64]]:
    """Logarithms of the speeds of one run, whose true value is 0; by start."""
    state = spread * math.sqrt(between) * random.standard_normal()
    own = spread * math.sqrt(1 - between)
    return [state + own * random.standard_normal() + rounds(random, count) for _ in range(starts)]


def speed(logs: Sequence[NDArray[np.float64]]) -> Speed:
    """As a run on a machine whose matrix products are always equally fast."""
    about = np.concatenate([log - np.median(log) for log in logs])
    quartiles = np.quantile(about, (0.25, 0.75))
    return Speed(
        logs=tuple(float(np.median(log)) for log in logs),
        within=float(np.ptp(quartiles)) / 1.349,
        rounds=sum(map(len, logs)),
        gemm_log=0.0,
    )


def covers(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


def share(trials: int, happens: Callable[[], bool]) -> float:
    return sum(happens() for _ in range(trials)) / trials


def report_coverage(
    random: Random, trials: int, starts: int, count: int, *, spread: float,
    correlation: float = AUTOCORRELATION, others: bool = True,
) -> float:  # fmt: skip
    """Of a report's interval of a ratio: of other starts, or of this one (``others`` False)."""

    def happens() -> bool:
        offsets = spread * random.standard_normal(starts)
        logs = [offset + rounds(random, count, correlation) for offset in offsets]
        truth = 0.0 if others else float(offsets[0])
        return covers(exponential(centre_of(logs)), math.exp(truth))

    return share(trials, happens)


def ranking_alarms(
    random: Random, trials: int, variants: int, starts: int, count: int, *, spread: float
) -> float:
    """How often the fastest of equally fast variants is said to be faster than any other.

    A single start is taken to have no offset: its interval covers nothing beyond itself.
    """
    pairs = math.comb(variants, 2)

    def happens() -> bool:
        every = [
            [
                (spread if starts > 1 else 0) * random.standard_normal() + rounds(random, count)
                for _ in range(starts)
            ]
            for _ in range(variants)
        ]
        leader = max(every, key=lambda logs: np.mean([np.median(log) for log in logs]))
        return any(
            exponential(
                centre_of([one - two for one, two in zip(leader, other, strict=True)]),
                comparisons=pairs,
            ).low
            > 1
            for other in every
            if other is not leader
        )

    return share(trials, happens)


def compare_coverage(
    random: Random, trials: int, starts: int, count: int, *, spread: float, between: float
) -> float:
    """Of `bench compare`: the interval of a ratio between two runs of the same thing."""

    def happens() -> bool:
        one, two = (
            speed(run(random, starts, count, spread=spread, between=between)) for _ in range(2)
        )
        return covers(ratio(one, two), 1)

    return share(trials, happens)


def gate(
    random: Random, trials: int, starts: int, count: int, *, spread: float, between: float,
    slowdown: float = 1.0, stored: int = 1,
) -> tuple[float, float]:  # fmt: skip
    """`bench check` against ``stored`` runs: how often it fails, and is too unsteady to say ok."""

    def outcome() -> str:
        base = [
            speed(run(random, starts, count, spread=spread, between=between)) for _ in range(stored)
        ]
        logs = run(random, starts, count, spread=spread, between=between)
        found = ratio_to_runs(speed([log - math.log(slowdown) for log in logs]), base)
        if found.high < 1 / MAX_SLOWDOWN:
            return "failed"
        return "unsteady" if found.high / found.value > MOST_UNCERTAIN else "ok"

    outcomes = [outcome() for _ in range(trials)]
    return outcomes.count("failed") / trials, outcomes.count("unsteady") / trials


def reproduce_alarms(
    random: Random, trials: int, cells: int, count: int, *, spread: float
) -> float:
    """How often `bench reproduce` calls any of ``cells`` equally fast cells faster or slower."""

    def happens() -> bool:
        return any(
            not covers(
                ratio(
                    *(speed(run(random, 1, count, spread=spread)) for _ in range(2)),
                    comparisons=cells,
                ),
                1,
            )
            for _ in range(cells)
        )

    return share(trials, happens)


def auroc_coverage(
    random: Random, trials: int, positives: int, area: float, *, images: int = 1, size: int = 100
) -> float:
    """Of the AUROC of one label of ``size`` patients; ``images`` each, which share most noise."""
    distance = math.sqrt(2) * _normal_quantile(area)
    labels = np.repeat(np.arange(size) < positives, images)
    groups = np.repeat(np.arange(size), images) if images > 1 else None
    common = 0.8 if images > 1 else 0.0

    def happens() -> bool:
        noise = math.sqrt(common) * np.repeat(random.standard_normal(size), images)
        noise += math.sqrt(1 - common) * random.standard_normal(size * images)
        scores = noise + distance * labels
        return covers(Ranking.of(scores[:, None], labels[:, None], groups).interval(), area)

    return share(trials, happens)


def mean_auroc_coverage(random: Random, trials: int, size: int, low: float, high: float) -> float:
    """Of the mean AUROC of fourteen labels, of which the rarest has about one positive and the
    area ``low``, the most frequent one image in four and ``high``."""
    areas = np.linspace(low, high, 14)
    distances = math.sqrt(2) * np.array([_normal_quantile(area) for area in areas])
    shares = np.geomspace(1 / size, 0.25, 14)

    def happens() -> bool:
        labels = random.random((size, 14)) < shares
        noise = 0.6 * random.standard_normal((size, 1)) + 0.8 * random.standard_normal((size, 14))
        found = Ranking.of(noise + distances * labels, labels)
        return covers(found.interval(), float(areas[~np.isnan(found.areas)].mean()))

    return share(trials, happens)


def auroc_difference_alarms(random: Random, trials: int, positives: int) -> float:
    """How often two networks of the same AUROC (0.8) on the same 100 images are said to differ."""
    labels = (np.arange(100) < positives)[:, None]

    def happens() -> bool:
        shared = random.standard_normal((100, 1))
        one, two = (
            Ranking.of(
                0.8 * shared + 0.6 * random.standard_normal((100, 1)) + 1.19 * labels, labels
            )
            for _ in range(2)
        )
        found = one.less(two)
        return not covers(found, 0)

    return share(trials, happens)


def accuracy_coverage(random: Random, trials: int, examples: int, accuracy: float) -> float:
    return share(
        trials,
        lambda: covers(mean_accuracy([random.binomial(examples, accuracy)], examples), accuracy),
    )


def mcnemar_alarms(random: Random, trials: int, examples: int) -> float:
    """Two networks, each wrong on 3 % of the same images, half of these in common."""

    def happens() -> bool:
        shared = random.random(examples) < 0.015
        one, two = (shared | (random.random(examples) < 0.015) for _ in range(2))
        return mcnemar(~one, ~two).p < 0.05

    return share(trials, happens)


def accuracy_gate_alarms(random: Random, trials: int, seeds: int) -> float:
    """`bench check` of the accuracy of one more seed against a baseline of ``seeds``."""
    cell = Cell(framework="a", model="m", dataset="d", seed=0)

    def happens() -> bool:
        counts = random.binomial(1000, 0.97 + 0.004 * random.standard_normal(seeds + 1))
        score = FinalScore(
            examples=1000, correct=counts[-1], accuracy=counts[-1] / 1000, loss=0, seconds=1
        )
        stored = Baseline(
            framework="a", model="m", dataset="d", training=Training(), examples=1000,
            correct=dict(enumerate(counts[:-1].tolist())),
        )  # fmt: skip
        found = check_metrics(stored, [CellResult(cell=cell, started="", test=score)])
        return found.status == "failed"

    return share(trials, happens)


def _normal_quantile(share: float) -> float:
    from scipy import stats

    return float(stats.norm.ppf(share))


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    yield f"\n{title}"
    for row in (header, *rows):
        yield "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def tables(trials: int, spread: float, between: float) -> Iterator[str]:
    """All of it, line by line; percentages."""
    random = np.random.default_rng(0)
    yield (
        f"{trials} trials a cell; starts spread by {spread:.0%}, of whose variance {between:.0%} "
        f"is between runs where there are several; rounds spread by {ROUND_NOISE:.0%}"
    )
    yield from _table(
        "Report, ratio of two frameworks, coverage of further starts (one start: of that start)",
        ["starts", *(f"{count} rounds" for count in ROUNDS)],
        [
            [str(starts)]
            + [
                _percent(
                    report_coverage(random, trials, starts, count, spread=spread, others=starts > 1)
                )
                for count in ROUNDS
            ]
            for starts in STARTS
        ],
    )
    yield from _table(
        "The same with one start, by autocorrelation; and were it taken for further starts",
        ["autocorrelation", *(f"{count} rounds" for count in ROUNDS)],
        [
            [f"{correlation:g}" + ("" if others is False else ", further starts")]
            + [
                _percent(
                    report_coverage(
                        random,
                        trials,
                        1,
                        count,
                        spread=spread,
                        correlation=correlation,
                        others=others,
                    )
                )
                for count in ROUNDS
            ]
            for correlation, others in ((0.0, False), (0.3, False), (0.6, False), (0.5, True))
        ],
    )
    yield from _table(
        "Report, equally fast variants: reports that call anyone slower (12 rounds)",
        ["variants", *(f"{starts} starts" for starts in STARTS)],
        [
            [str(variants)]
            + [
                _percent(ranking_alarms(random, trials // 2, variants, starts, 12, spread=spread))
                for starts in STARTS
            ]
            for variants in (3, 5, 9)
        ],
    )
    yield from _table(
        "bench compare, run against run: coverage",
        ["starts each", *(f"{count} rounds" for count in ROUNDS)],
        [
            [str(starts)]
            + [
                _percent(compare_coverage(random, trials, starts, count, spread=spread, between=0))
                for count in ROUNDS
            ]
            for starts in STARTS
        ]
        + [
            [f"1, spread by {RUN_TO_RUN:.0%}, as is assumed"]
            + [
                _percent(compare_coverage(random, trials, 1, count, spread=RUN_TO_RUN, between=0))
                for count in ROUNDS
            ]
        ]
        + [
            [f"{starts}, runs differ"]
            + [
                _percent(
                    compare_coverage(random, trials, starts, count, spread=spread, between=between)
                )
                for count in ROUNDS
            ]
            for starts in STARTS
        ],
    )
    rows = []
    for wide in (0.02, 0.03, 0.04):
        for starts in STARTS:
            for share_between in (0.0, between):
                row = [f"{wide:.0%}", str(starts), f"{share_between:.0%}"]
                for slowdown in (1.0, 1.15, 1.3):
                    failed, _ = gate(
                        random, trials, starts, 12,
                        spread=wide, between=share_between, slowdown=slowdown,
                    )  # fmt: skip
                    row.append(_percent(failed))
                rows.append(row)
    yield from _table(
        f"bench check --max-slowdown {MAX_SLOWDOWN:g} against one stored run: fails (12 rounds)",
        ["spread", "starts each", "between runs", "equally fast", "1.15 x slower", "1.3 x slower"],
        rows,
    )
    yield from _table(
        "bench reproduce, equally fast cells: any called faster or slower (12 rounds)",
        ["cells", "alarms"],
        [
            [str(cells), _percent(reproduce_alarms(random, trials, cells, 12, spread=spread))]
            for cells in (1, 9)
        ],
    )
    areas = (0.6, 0.75, 0.9, 0.95)
    yield from _table(
        "AUROC of one label, 100 patients: coverage",
        ["positives", "images each", *(f"AUROC {area:g}" for area in areas)],
        [
            [str(positives), str(images)]
            + [
                _percent(auroc_coverage(random, trials, positives, area, images=images))
                for area in areas
            ]
            for images in (1, 4)
            for positives in (MINIMUM_POSITIVES, 10, 20, 50)
        ],
    )
    ends = [*((area, area) for area in areas), (0.6, 0.95), (0.95, 0.6)]
    yield from _table(
        "Mean AUROC of fourteen labels, the rarest to the most frequent: coverage",
        ["images", *(f"AUROC {low:g} to {high:g}" for low, high in ends)],
        [
            [str(size)]
            + [
                _percent(mean_auroc_coverage(random, trials // 2, size, low, high))
                for low, high in ends
            ]
            for size in (100, 300)
        ],
    )
    yield from _table(
        "Tests and gates of scores: false positives (nominal 5 %, of the gate 0.2 %)",
        ["", "alarms"],
        [
            ["difference of AUROC, 10 positives", _percent(
                auroc_difference_alarms(random, trials, 10))],
            ["difference of AUROC, 50 positives", _percent(
                auroc_difference_alarms(random, trials, 50))],
            ["McNemar, 360 images", _percent(mcnemar_alarms(random, trials, 360))],
            ["McNemar, 10,000 images", _percent(mcnemar_alarms(random, trials, 10_000))],
            ["accuracy outside its interval, 360 images", _percent(
                1 - accuracy_coverage(random, trials, 360, 0.97))],
            ["accuracy gate, 3 seeds stored", _percent(accuracy_gate_alarms(random, trials, 3))],
            ["accuracy gate, 5 seeds stored", _percent(accuracy_gate_alarms(random, trials, 5))],
        ],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="a cell [default: 1000]")
    parser.add_argument("--spread", type=float, default=0.03, help="of starts [default: 0.03]")
    parser.add_argument(
        "--between-runs", type=float, default=0.5, help="share of that variance [default: 0.5]"
    )
    given = parser.parse_args()
    for line in tables(given.trials, given.spread, given.between_runs):
        print(line)


if __name__ == "__main__":
    main()

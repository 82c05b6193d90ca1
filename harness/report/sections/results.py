"""The one table of the first page: every variant, and the figure of speeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.machines import on_machine
from harness.analysis.metrics import over_seeds, title
from harness.analysis.paired import RelativeSpeed, relative_speed
from harness.analysis.run import MOST_SHOWN, STEADY_RATIO, Outcome, Run, Workload, title_of
from harness.analysis.speed import BUSY, MINIMUM_ROUNDS
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.metrics import Metric
from harness.plugins import role_of
from harness.report import charts
from harness.report.section import Drawing, drawing, for_workloads, paragraphs
from harness.report.style import style_of
from harness.report.text import (
    NOTHING,
    capitalised,
    escape,
    interval_name,
    join,
    number,
    percent_places,
    plural,
    ratio,
    score,
    shorten,
    speed,
    table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SPEED_COLUMNS = ("Training, images/s", "Speed ratio", "Compilation, s", "Import, s")
WITH_INTERVAL = SPEED_COLUMNS[:2]
MEMORY = "Peak memory, MiB"


def brief(each: WorkloadSummary) -> str:
    pictures = [figure.markdown for figure in figures(each)]
    return paragraphs(headline(each), shared(each), by_machine(each), coverage(each), *pictures)


def headline(each: WorkloadSummary) -> str:
    """One row a variant, those that failed or were skipped included."""
    workload, run = each.workload, each.run
    columns = [metric for metric in each.headline_metrics if not is_shared(each, metric)]
    measured = [*SPEED_COLUMNS, MEMORY] if workload.timed else [MEMORY]
    header = [
        "Variant",
        "Role",
        *(f"{capitalised(title(workload, m))} ({interval_name()})" for m in columns),
        *(f"{name} ({interval_name()})" if name in WITH_INTERVAL else name for name in measured),
    ]
    unknown = [NOTHING] * (len(measured) - 1)
    rows = []
    for outcome in workload.by_role:
        row = [_name(outcome), outcome.role]
        if outcome.trained:
            row += [metric_cell(workload, outcome, m) for m in columns]
            if workload.timed:
                # Speeds of different machines are never pooled, their ratios are.
                row.append(pace(outcome) if len(each.machines) < 2 else "by machine, below")
                row.append(ratio_cell(each.speeds[outcome.framework], workload))
                row += _costs(run, outcome)
            row.append(f"{outcome.peak_mib:,.0f}")
        else:
            row += [*[NOTHING] * len(columns), _state(outcome), *unknown]
        rows.append(row)
    for name, reason in run.manifest.skipped.items():
        if name in {outcome.framework for outcome in workload.outcomes} or " " in name:
            continue  # of one model only: the warnings say it
        skipped = f"skipped: {escape(shorten(reason))}"
        row = [escape(title_of(name)), role_of(name), *[NOTHING] * len(columns)]
        rows.append([*row, skipped, *unknown])
    return table(header, rows, align="ll" + "r" * (len(header) - 2))


def is_shared(each: WorkloadSummary, metric: Metric) -> bool:
    """Whether every variant has the same value, so that it is said once below the table."""
    finished = each.workload.finished
    cells = {metric_cell(each.workload, outcome, metric) for outcome in finished}
    return len(finished) > 1 and len(cells) == 1


def shared(each: WorkloadSummary) -> str:
    """Metrics that are the same in every variant."""
    said = [
        f"{capitalised(title(each.workload, m))} {metric_cell(each.workload, one, m)}"
        for m in each.headline_metrics
        if is_shared(each, m) and (one := each.workload.finished[0])
    ]
    count = len(each.workload.finished)
    which = "both" if count == 2 else f"all {count}"
    return f"The same in {which} variants: {'; '.join(said)}." if said else ""


def by_machine(each: WorkloadSummary) -> str:
    """Speeds of a run made on several machines, for each by itself."""
    if len(each.machines) < 2 or not each.workload.timed:
        return ""
    header = ["Machine", "Variant", "Seeds", f"Training, images/s ({interval_name()})",
              f"Speed ratio ({interval_name()})"]  # fmt: skip
    rows = []
    for machine in each.machines:
        there = on_machine(each.workload, machine)
        for outcome in there.by_role:
            if outcome.trained:
                row = [escape(machine.name), escape(outcome.title), str(len(outcome.trained))]
                relative = relative_speed(there, outcome)
                rows.append([*row, pace(outcome), ratio_cell(relative, there)])
    return paragraphs(
        "The run was made on several machines (by processor, caches and cores). Speeds are of one "
        "machine; ratios pair rounds that were interleaved on one, and the table above pools them.",
        table(header, rows, align="llrrr"),
    )


def metric_cell(workload: Workload, outcome: Outcome, metric: Metric) -> str:
    """Value and interval of a metric, and the range over the seeds where training recorded it."""
    shown = score(over_seeds(outcome, metric), metric.display, outcome.test_examples)
    low_high = {"accuracy": outcome.accuracy_range, "auroc": outcome.auroc_range}.get(metric.name)
    if low_high is None or len(outcome.trained) < 2 or any(v != v for v in low_high):
        return shown
    low, high = low_high
    if low == high:
        return f"{shown}; the same in all {len(outcome.trained)} seeds"
    if metric.display == "percent":
        places = percent_places(outcome.test_examples)
        return f"{shown}; seeds {100 * low:.{places}f} to {100 * high:.{places}f}"
    return f"{shown}; seeds {low:.3f} to {high:.3f}"


def ratio_cell(relative: RelativeSpeed, workload: Workload) -> str:
    """The ratio with its interval and what it is of, or why it is not judged."""
    other = relative.to
    if other is None:
        return "not compared" if relative.outcome.role == "idiom" else NOTHING
    if other is relative.outcome:
        return "1 (reference)"
    if relative.doubt:
        return f"not judged: {relative.doubt}"
    return f"{ratio(relative.estimate)} of {escape(other.title)}"


def pace(outcome: Outcome) -> str:
    shown = speed(outcome.speed)
    return f"{shown} ({outcome.other_work})" if outcome.other_work else shown


def unfinished_reason(outcome: Outcome) -> str:
    """Why ``outcome`` trained nothing, as plain text."""
    if outcome.failed:
        result = next(iter(outcome.failed.values()))
        return f"{result.outcome}: {shorten(result.error or 'no reason was recorded')}"
    return "not run yet"


def _state(outcome: Outcome) -> str:
    state, _, reason = unfinished_reason(outcome).partition(": ")
    return f"**{state}**: {escape(reason)}" if reason else f"**{state}**"


def _name(outcome: Outcome) -> str:
    planned = len(outcome.trained) + len(outcome.failed) + len(outcome.missing)
    if not outcome.trained or len(outcome.trained) == planned:
        return escape(outcome.title)
    return f"{escape(outcome.title)} (**{len(outcome.trained)} of {planned} seeds**)"


def _costs(run: Run, outcome: Outcome) -> list[str]:
    batch_size = run.manifest.experiment.training.batch_size
    return [
        number(outcome.compilation_s(batch_size)),
        number(outcome.phase("import_s")),
    ]


def coverage(each: WorkloadSummary) -> str:
    """What the intervals cover, how disturbed the run was, and on which CPU."""
    workload = each.workload
    starts = sorted({len(outcome.starts) for outcome in workload.finished})
    if not (starts and workload.timed):
        return ""
    where = "this machine" if len(each.machines) < 2 else "these machines"
    if starts == [1]:
        lead = (
            "The intervals of speeds cover the rounds of this one start; other starts, and other "
            "machines, may differ by more (`--sessions 5`, or more seeds, show how much)."
        )
    else:
        lead = (
            f"The intervals of speeds cover further starts on {where}: each variant was "
            f"started anew {join(list(map(str, starts)))} times. Other machines may differ by more."
        )
    cpu = processor(each) if len(each.machines) < 2 else ""
    return f"{lead} {_disturbed(workload)} {cpu}".rstrip()


def _disturbed(workload: Workload) -> str:
    rounds = [each for outcome in workload.finished for each in outcome.rounds]
    repeats = sum(each.repeats for each in rounds)
    repeated = sum(each.repeats > 0 for each in rounds)
    disturbed = sum(each.disturbed for each in rounds)
    if not (repeats or disturbed):
        return "No round was repeated or marked as disturbed."
    return (
        f"Of {plural(len(rounds), 'round')} {repeated} {'was' if repeated == 1 else 'were'} "
        f"measured again because of other work on the machine ({plural(repeats, 'repetition')}); "
        f"{disturbed} remained disturbed and {'counts' if disturbed == 1 else 'count'} in no speed."
    )


def processor(each: WorkloadSummary) -> str:
    """The CPU in a sentence, and the GPU if one trained: ratios of speed depend on them."""
    recorded = each.run.folder.environment
    flags, caches = recorded.get("cpu_flags"), recorded.get("cpu_caches")
    parts = [escape(str(recorded.get("cpu") or "unknown"))]
    if isinstance(flags, list) and flags:
        parts.append(f"vector extensions {escape(', '.join(map(str, flags)))}")
    if isinstance(caches, dict) and caches:
        sizes = [f"{escape(str(name))} {escape(str(size))}" for name, size in caches.items()]
        parts.append(f"caches {', '.join(sizes)}")
    parts.append(plural(each.run.manifest.experiment.threads, "thread"))
    cpu = f"CPU: {'; '.join(parts)}."
    if each.run.manifest.experiment.device == "cpu":
        return cpu
    cells = [cell for outcome in each.workload.finished for cell in outcome.trained.values()]
    names = {cell.result.facts.get("device", "unknown") for cell in cells}
    return f"GPU: {escape(' and '.join(sorted(names)))}. {cpu}"


def figures(each: WorkloadSummary) -> list[Drawing]:
    if not (each.workload.finished and each.workload.timed):
        return []
    alt = "Training speed of each variant in images per second"
    return [
        drawing(
            each.workload,
            "speed",
            alt,
            lambda: speeds(each.workload),
            lambda: charts.speeds(each.workload),
        )
    ]


def speeds(workload: Workload) -> Figure:
    """Median throughput with its interval, and every round as a dot."""
    from harness.report import plotting

    outcomes = [outcome for outcome in workload.by_role if outcome.trained]
    figure = plotting.new_figure(0.9 + 0.42 * len(outcomes))
    axes = figure.subplots()
    generator = np.random.default_rng(0)  # a fixed scatter keeps the dots apart without chance
    reach = max(outcome.speed.value for outcome in outcomes)
    for row, outcome in enumerate(outcomes):
        style, estimate = style_of(outcome.framework), outcome.speed
        axes.barh(row, estimate.value, height=0.6, color=style.color, alpha=0.55)
        rounds = np.concatenate([cell.images_per_second for cell in outcome.shown])
        shift = generator.uniform(-0.2, 0.2, rounds.size)
        axes.plot(
            rounds, row + shift, ".", color="#222222", markersize=3, markeredgewidth=0, alpha=0.6
        )
        if estimate.has_interval:
            error = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes.errorbar(estimate.value, row, xerr=error, color="black", capsize=4, linewidth=1.4)
        end = float(max(rounds.max(), estimate.value))
        reach = max(reach, end)
        plotting.annotate(axes, end, row, number(estimate.value))
    plotting.rows(axes, [outcome.title for outcome in outcomes])
    axes.set_xlim(0, reach * 1.14)
    axes.xaxis.set_major_formatter(plotting.PLAIN)
    axes.set_xlabel("training speed, images per second (more is better)")
    return figure


def terms(summary: RunSummary) -> list[str]:
    return [
        "**Round**: one pass over the training split, timed with the device synchronised, "
        "evaluation left out: every epoch, and with `--rounds` passes after training, whose effect "
        "is undone. The frameworks are interleaved round by round. A round beside other work is "
        "measured again, by the measured load and never by its speed; one that stays disturbed "
        "counts in no speed.",
        "**Start**: new processes of all frameworks, interleaved: every seed, and every further "
        "session of `--sessions`.",
        "**Training, images/s**: the median over the rounds of a start, and of several starts the "
        f"geometric mean. The {interval_name()} interval is Student's on logarithms. With several "
        "starts it comes from their spread, with one degree of freedom fewer than starts, and "
        "covers further starts. With one start it comes from the rounds, their autocorrelation "
        "allowed for, and covers that start alone. Fewer than "
        f"{MINIMUM_ROUNDS} rounds carry no interval. No interval speaks of other machines, batch "
        "sizes or models.",
        "**Speed ratio**: images a second over those of the variant that is named, paired round by "
        "round where both were undisturbed; the interval rounded outwards. More than 1 is faster. "
        "When the interval covers 1, no difference is shown. The intervals of one role hold "
        "together (Bonferroni): of plain variants for every pair, because the fastest is picked "
        "among all.",
        f"**Not judged**: other work used more than {100 * BUSY:.0f} % of the cores given while "
        "one of the two was timed, or the middle half of its rounds spans more than a factor of "
        f"{STEADY_RATIO:g}. Nothing is claimed of such a speed.",
        "**Plain, tuned, bound, idiom**: a plain variant is the framework as a user writes it, and "
        "these alone are ranked. A tuned one deviates from its plain form as stated; its ratio is "
        "over that. A bound is no framework: kernels written by hand show what the CPU allows. An "
        "idiom is a framework as its tutorial writes it, compared with nothing.",
        "**Test accuracy**, **all labels correct**: the mean over the seeds. Its interval is the "
        "exact binomial one (Clopper-Pearson) of a single evaluation at that mean: all seeds "
        "predict the same test images. It counts images as if those of one patient had nothing in "
        "common, so with several images a patient it promises too much.",
        "**Compilation**: the first step less a steady step. **Import**: importing the framework. "
        "Medians over the seeds. **Peak memory**: the largest resident set of the framework's own "
        "process, its libraries included; the memory of a GPU is not in it.",
        f"**Many seeds**: figures of single rounds and trainings show the first {MOST_SHOWN} "
        "seeds; results.csv has all.",
    ]


SECTION = for_workloads(title="Results", brief=brief, figures=figures, terms=terms)

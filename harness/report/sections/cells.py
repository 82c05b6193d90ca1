"""Every training: one row a variant and seed."""

from __future__ import annotations

import math

from harness.analysis.labels import name_of
from harness.analysis.run import MOST_SHOWN, Outcome, Run, Workload
from harness.analysis.summary import WorkloadSummary
from harness.report.section import folded, for_workloads
from harness.report.text import (
    NOTHING,
    UNDEFINED,
    escape,
    number,
    percent,
    percent_places,
    shorten,
    table,
)


def body(each: WorkloadSummary) -> str:
    seeds = each.run.manifest.experiment.seeds
    title = "Every variant and seed"
    if len(seeds) > MOST_SHOWN:
        title = f"The first {MOST_SHOWN} of {len(seeds):,} seeds; results.csv has all"
    return folded(title, every_cell(each.run, each.workload))


def every_cell(run: Run, workload: Workload) -> str:
    """One row for each framework and seed of the workload."""
    aurocs = [f"Test {name_of(workload)}", "Validation AUROC"] if workload.labels else []
    several = workload.entry.task == "multilabel"
    accuracies = ["All labels correct", "Validation, all correct"] if several else [
        "Test accuracy", "Validation accuracy"
    ]  # fmt: skip
    times = [
        "Images/s", "Training, s", "Start, s", "Import, s", "Build, s", "First step, s",
        "First prediction, s", "Test evaluation, s",
    ]  # fmt: skip
    header = [
        "Variant", "Seed", *aurocs, "Test images correct", accuracies[0], "Test loss",
        accuracies[1], "Last training loss", *(times if workload.timed else []),
        "Peak memory, MiB",
    ]  # fmt: skip
    empty = [NOTHING] * (len(header) - 3)
    rows: list[list[str]] = []
    for outcome in workload.outcomes:
        name = escape(outcome.title)
        for seed in run.manifest.experiment.seeds[:MOST_SHOWN]:
            if seed in outcome.failed:
                result = outcome.failed[seed]
                reason = escape(shorten(result.error or "no reason was recorded"))
                rows.append([name, str(seed), f"**{result.outcome}**: {reason}", *empty])
            elif seed in outcome.missing:
                rows.append([name, str(seed), "**not run yet**", *empty])
            elif seed in outcome.trained:
                rows.append([name, str(seed), *_cell_numbers(workload, outcome, seed)])
    return table(header, rows, align="l" + "r" * (len(header) - 1))


def _cell_numbers(workload: Workload, outcome: Outcome, seed: int) -> list[str]:
    cell = outcome.trained[seed]
    last = cell.epochs[-1]
    places = percent_places(cell.test.examples)
    phases = cell.phases
    times = [
        cell.median_images_per_second,
        float(cell.result.epoch_seconds.sum()),
        phases.start_s,
        phases.import_s,
        phases.build_s,
        phases.first_step_s,
        phases.first_predict_s,
        cell.test.seconds,
    ]
    aurocs = [
        UNDEFINED if math.isnan(cell.mean_auroc) else f"{cell.mean_auroc:.4f}",
        NOTHING if last.val_auroc is None else f"{last.val_auroc:.4f}",
    ]
    return [
        *(aurocs if workload.labels else []),
        f"{cell.test.correct:,} of {cell.test.examples:,}",
        percent(cell.test.accuracy, places),
        number(cell.test.loss),
        percent(last.val_accuracy, places),
        number(last.loss),
        *(map(number, times) if workload.timed else []),
        f"{cell.peak_mib:,.0f}",
    ]


SECTION = for_workloads(title="Every training", body=body)

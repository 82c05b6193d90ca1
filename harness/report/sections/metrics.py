"""Every metric of every variant on the test split."""

from __future__ import annotations

from harness.analysis.metrics import title
from harness.analysis.summary import WorkloadSummary
from harness.report.section import for_workloads
from harness.report.sections.results import metric_cell
from harness.report.text import capitalised, escape, table


def body(each: WorkloadSummary) -> str:
    """One row a variant, one column a metric; a single row where all have the same values."""
    workload = each.workload
    header = ["Variant", *(capitalised(title(workload, metric)) for metric in each.metrics)]
    rows = [
        [escape(outcome.title), *(metric_cell(workload, outcome, m) for m in each.metrics)]
        for outcome in workload.finished
    ]
    if len(rows) > 1 and all(row[1:] == rows[0][1:] for row in rows):
        rows = [[f"all {len(rows)} variants", *rows[0][1:]]]
    return table(header, rows, align="l" + "r" * len(each.metrics))


SECTION = for_workloads(
    title="Metrics on the test split",
    applies=lambda each: bool(each.metrics),
    body=body,
    intro="Means over the seeds, with the interval of a single evaluation where there is one.",
)

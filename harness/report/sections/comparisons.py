"""Every two variants on the same test images: accuracy, and AUROC where there is one."""

from __future__ import annotations

import math

from harness.analysis.labels import name_of
from harness.analysis.paired import VariantPair, excludes_zero
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.section import bullets, folded, for_workloads, paragraphs
from harness.report.text import (
    capitalised,
    difference_parts,
    escape,
    interval_name,
    join,
    p_value,
    plural,
    table,
)
from harness.stats.statistics import SIGNIFICANCE

MOST_ROWS = 6
"""Longer tables are folded, below a summary."""


def body(each: WorkloadSummary) -> str:
    tests = each.tests
    if not tests.pairs:
        return (
            "No two variants finished the same seed with their predictions kept, so there is "
            "nothing to test."
        )
    corrected = f"; p is corrected for {tests.count} tests" if tests.count > 1 else ""
    several = each.workload.entry.task == "multilabel"
    correct = ". An image is correct when all of its labels are" if several else ""
    return paragraphs(
        aurocs(each) if tests.rank_count else "",
        "Every two variants that finished the same seed are compared on the same test images, by "
        f"the exact McNemar test{corrected}{correct}:",
        bullets(summaries(each)),
        _folded(accuracy_table(each), tests.count),
    )


def _folded(shown: str, rows: int) -> str:
    return folded("Every pair and seed", shown) if rows > MOST_ROWS else shown


def summaries(each: WorkloadSummary) -> list[str]:
    """A sentence on every two variants; those that predict the same share one."""
    tests = each.tests
    alike = [pair for pair in tests.pairs if pair.identical]
    if len(alike) < 2:
        return [_summary(each, pair) for pair in tests.pairs]
    found = [_summary(each, pair) for pair in tests.pairs if not pair.identical]
    titles = dict.fromkeys(o.title for pair in alike for o in (pair.first, pair.second))
    if found:
        lead = f"The other {len(alike)} pairs"
    elif len(alike) == math.comb(len(titles), 2):
        lead = f"Every two of {join([escape(title) for title in titles])} ({len(alike)} pairs)"
    else:
        lead = f"All {len(alike)} pairs"
    times = " for every seed" if len(each.workload.seeds) > 1 else ""
    images = plural(alike[0].tests[0].examples, "image")
    return [*found, f"{lead} predict the same for all {images}{times}: no difference shown."]


def _summary(each: WorkloadSummary, pair: VariantPair) -> str:
    names = f"{escape(pair.first.title)} and {escape(pair.second.title)}"
    counts = sorted({test.differing for test in pair.tests})
    images, seeds = plural(pair.tests[0].examples, "image"), len(pair.tests)
    times = f" for each of {seeds} seeds" if seeds > 1 else ""
    if counts == [0]:
        return f"{names} predict the same for all {images}{times}: no difference shown."
    spread = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    p = p_value(min(test.paired.p for test in pair.tests))
    lead = f"{names} disagree on {spread} of {images}{times}, {'smallest ' * (seeds > 1)}{p}"
    if each.tests.count > 1:
        smallest = p_value(each.tests.smallest_p(pair))
        lead += f" ({smallest} corrected for {each.tests.count} tests)"
    significant = each.tests.significant(pair)
    return f"{lead}: {'a difference beyond the noise' if significant else 'no difference shown'}."


def accuracy_table(each: WorkloadSummary) -> str:
    """One row a pair of variants and seed."""
    header = [
        "Variants",
        "Seed",
        "Images",
        "Different predictions",
        "Only the first correct",
        "Only the second correct",
        "p (exact McNemar)",
    ]
    rows = [
        [
            f"{escape(pair.first.title)}, {escape(pair.second.title)}",
            str(test.seed),
            f"{test.examples:,}",
            f"{test.differing:,}",
            f"{test.paired.only_first:,}",
            f"{test.paired.only_second:,}",
            p_value(test.paired.p).removeprefix("p = ").removeprefix("p "),
        ]
        for pair in each.tests.pairs
        for test in pair.tests
    ]
    return table(header, rows, align="lrrrrrr")


def aurocs(each: WorkloadSummary) -> str:
    """Differences of AUROC of every two variants and seed."""
    shown, count = auroc_table(each), each.tests.rank_count
    lead = (
        f"{capitalised(name_of(each.workload))} of every two variants that finished the same seed "
        "is compared on the same test images (DeLong). The intervals hold all together; where one "
        "covers 0, no difference is shown."
    )
    if count <= MOST_ROWS:
        return paragraphs(lead, shown)
    return paragraphs(lead, auroc_summary(each), _folded(shown, count))


def auroc_summary(each: WorkloadSummary) -> str:
    """One sentence on all pairs and seeds."""
    found = [d for pair in each.tests.pairs for _, d in each.tests.differences(pair)]
    apart = sum(map(excludes_zero, found))
    comparisons, name = plural(len(found), "comparison"), name_of(each.workload)
    if all(difference.value == 0 for difference in found):
        return f"All {comparisons} give exactly the same {name}."
    largest = max(abs(difference.value) for difference in found)
    said = (
        f"{apart} of {comparisons} show a difference beyond the noise"
        if apart
        else f"None of {comparisons} shows a difference"
    )
    return f"{said}; the largest difference is {largest:.4f}."


def auroc_table(each: WorkloadSummary) -> str:
    """One row a pair of variants and seed."""
    name = name_of(each.workload)
    header = [
        "Variants",
        "Seed",
        f"First's {name}",
        f"Second's {name}",
        f"Difference ({interval_name()}, all together)",
        "Result",
    ]
    rows = []
    for pair in each.tests.pairs:
        found = dict(each.tests.differences(pair))
        for test in pair.rank_tests:
            value, interval = difference_parts(found[test.seed])
            rows.append(
                [
                    f"{escape(pair.first.title)}, {escape(pair.second.title)}",
                    str(test.seed),
                    f"{test.first:.4f}",
                    f"{test.second:.4f}",
                    f"{value} ({interval})" if interval else value,
                    "**a difference**"
                    if excludes_zero(found[test.seed])
                    else "no difference shown",
                ]
            )
    return table(header, rows, align="lrrrrl")


def terms(summary: RunSummary) -> list[str]:
    return [
        "**p (exact McNemar)**: two networks on the same test images; only images that one "
        "predicts correctly and the other does not count. The p-value is how often equally good "
        "networks would fall at least this far apart. A difference is called one only if p, "
        "multiplied by the number of such tests (Bonferroni) for this network and data set, is "
        f"below {SIGNIFICANCE:g}. Overlapping intervals are not used for that.",
        "**Difference of AUROC**: on the very same images, with DeLong's variance of it. Its "
        "interval is widened for the number of pairs and seeds (Bonferroni), so that with "
        f"{interval_name()} all of them hold at once.",
    ]


SECTION = for_workloads(title="Every two variants", body=body, terms=terms)

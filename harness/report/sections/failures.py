"""Cells that failed, timed out or diverged: why, and the last lines that each one's log has."""

from __future__ import annotations

from harness.analysis.findings import Finding
from harness.analysis.summary import RunSummary
from harness.console import printable
from harness.report.section import Section, paragraphs
from harness.report.sections.warnings import sentence
from harness.report.text import fence
from harness.results.folder import RunFolder

MOST_SHOWN = 20
"""Cells; of more, the logs are in the run's folder."""
LOG_LINES = 12


def failures(summary: RunSummary) -> list[Finding]:
    return [finding for finding in summary.findings if finding.kind == "failed"]


def body(summary: RunSummary) -> str:
    found = failures(summary)
    parts = [_failure(summary.run.folder, finding) for finding in found[:MOST_SHOWN]]
    more = len(found) - len(parts)
    return paragraphs(*parts, f"And {more} more." if more else "")


def _failure(folder: RunFolder, finding: Finding) -> str:
    assert finding.outcome is not None
    cells = (finding.outcome.failed[seed].cell for seed in finding.seeds)
    lines = [printable(line) for cell in cells for line in folder.log_tail(cell, LOG_LINES)]
    return paragraphs(sentence(finding), fence("\n".join(lines)) if lines else "Its log is empty.")


SECTION = Section(
    title="Failed cells",
    applies=lambda summary: bool(failures(summary)),
    body=body,
)

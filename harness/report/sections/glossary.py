"""What the numbers mean: entries of all other sections, at the end of the details."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.summary import RunSummary
from harness.report.section import Section, bullets


def glossary(sections: Sequence[Section]) -> Section:
    """Of what ``sections`` show of a run."""

    def body(summary: RunSummary) -> str:
        return bullets(
            [
                term
                for section in sections
                if section.applies(summary)
                for term in section.terms(summary)
            ]
        )

    return Section(title="How to read this", body=body)

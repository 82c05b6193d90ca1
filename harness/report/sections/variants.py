"""What each variant is, and on what it ran."""

from __future__ import annotations

from harness.analysis.run import title_of
from harness.analysis.summary import RunSummary
from harness.plugins import backends, canonical
from harness.report.section import Section, paragraphs
from harness.report.text import NOTHING, code, escape, table

ROLES = {
    "plain": "plain",
    "tuned": "tuned, of {base}",
    "bound": "reference bound",
    "idiom": "idiom, not compared",
}
"""Roles of variants, as a table has them."""


def body(summary: RunSummary) -> str:
    return paragraphs(variants(summary), *notes(summary))


def variants(summary: RunSummary) -> str:
    """One row a variant of the run."""
    rows = []
    for name in summary.run.manifest.experiment.frameworks:
        spec = backends().get(canonical(name))
        role = ROLES[spec.role].format(base=spec.base) if spec else NOTHING
        versions = ran_on(summary, name)
        rows.append(
            [
                escape(title_of(name)),
                code(name),
                escape(role),
                escape(spec.summary) if spec else NOTHING,
                (escape(spec.deviation) if spec else "") or NOTHING,
                escape(", ".join(versions)) or NOTHING,
            ]
        )
    header = ["Variant", "Name", "Role", "What it is", "Deviation from plain", "Ran on"]
    return table(header, rows)


def ran_on(summary: RunSummary, name: str) -> list[str]:
    """Versions that the cells of a variant recorded."""
    spec = backends().get(canonical(name))
    return [
        f"{fact} {' and '.join(summary.facts[fact][name])}"
        for fact in (spec.family.versions if spec else ())
        if name in summary.facts.get(fact, {})
    ]


def notes(summary: RunSummary) -> list[str]:
    """What a reader must know of a variant to take it for what it is."""
    return [f"{escape(spec.title)} {spec.note}" for spec in summary.specs.values() if spec.note]


SECTION = Section(title="What each variant is", body=body)

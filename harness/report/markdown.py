"""Writes the pages of a run in Markdown and HTML, ``results.csv`` and ``figures/``."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.analysis.metrics import csv_columns
from harness.analysis.summary import RunSummary, summarise
from harness.errors import BenchError
from harness.files import write_atomically
from harness.report.registry import GLOSSARY, SECTIONS
from harness.report.section import Drawing, Page, Section, bullets, paragraphs
from harness.report.text import escape, fence, join
from harness.results.load import cell_rows, to_csv

FILE = "report.md"


def render(path: Path) -> Path:
    """Render the run in ``path`` and return its ``report.md``; the same results, the same bytes.

    Raises:
        BenchError: no run there, damaged files, no results yet, or nothing can be written.
    """
    return write(summarise(path))


def write(summary: RunSummary) -> Path:
    """The same of a run that was read already."""
    from harness.report import html

    path = summary.run.folder.path
    if not isinstance(summary.run.folder.environment, dict):
        raise BenchError(f"{path}: environment.json does not describe a machine")
    first, bodies = first_page(summary), contents(summary)
    written = _pages(summary, first, bodies)
    rows = cell_rows(summary.run.folder, csv_columns(summary.run), summary.run.results)
    drawn, csv = figures(summary), to_csv(rows)
    written[html.FILE] = html.page(summary, first, bodies, drawn, csv, rows)
    try:
        for name, content in (drawn | {"results.csv": csv}).items():
            write_atomically(path / name, content)
        # The report last, so that it never shows or links what is not there.
        for name, text in reversed(written.items()):
            write_atomically(path / name, text)
    except OSError as error:
        raise BenchError(f"cannot write the report to {path}: {error.strerror}") from error
    return path / FILE


def contents(summary: RunSummary) -> list[tuple[Section, str]]:
    """Sections that have a body in this run, in order, the glossary last; and their Markdown."""
    chosen = [section for section in SECTIONS if section.applies(summary)]
    bodies = [(section, section.body(summary)) for section in [*chosen, GLOSSARY]]
    return [(section, body) for section, body in bodies if body]


def pages(summary: RunSummary) -> dict[str, str]:
    """Markdown by file name; draws nothing."""
    return _pages(summary, first_page(summary), contents(summary))


def _pages(summary: RunSummary, first: str, bodies: list[tuple[Section, str]]) -> dict[str, str]:
    links = _links(summary, [section for section, _ in bodies])
    found = {FILE: paragraphs(first, links) + "\n"}
    for page, heading in (("details.md", "Details"), ("code.md", "Code")):
        own = [(section, body) for section, body in bodies if section.page == page]
        parts = [f"## {section.title}\n\n{body}" for section, body in own]
        head = f"# {heading}: {subject(summary)}"
        found[page] = paragraphs(head, f"Back to [the report]({FILE}).", *parts) + "\n"
    return found


def drawings(summary: RunSummary) -> list[Drawing]:
    """Every figure of the report, not drawn yet."""
    return [
        drawing
        for section in SECTIONS
        if section.applies(summary)
        for drawing in section.figures(summary)
    ]


def figures(summary: RunSummary) -> dict[str, str | bytes]:
    """SVG text, or bytes of a PNG, by path below the run's folder."""
    from harness.report.plotting import house_style, svg

    found: dict[str, str | bytes] = {}
    with house_style():
        for drawing in drawings(summary):
            drawn = drawing.draw()
            found[drawing.path] = drawn if isinstance(drawn, bytes) else svg(drawn)
    return found


def subject(summary: RunSummary) -> str:
    """Model and data: 'LeNet-5 on digits'."""
    workloads = summary.run.workloads
    if len(workloads) <= 2:
        return join([escape(workload.title) for workload in workloads])
    models = dict.fromkeys(w.card.title if w.card else w.model for w in workloads)
    datasets = dict.fromkeys(workload.dataset for workload in workloads)
    return f"{join(list(map(escape, models)))} on {join(list(map(escape, datasets)))}"


def first_page(summary: RunSummary) -> str:
    """Title and the briefs of the sections."""
    chosen = [section for section in SECTIONS if section.applies(summary)]
    # Those that are ranked; the others are forms of them, and stand in the table.
    ranked = dict.fromkeys(
        escape(outcome.title)
        for workload in summary.run.workloads
        for outcome in workload.outcomes
        if outcome.role == workload.ranked_role
    )
    doing = "compared" if len(ranked) > 1 else "trained"
    parts = [f"# {subject(summary)}: {join(list(ranked))} {doing}"]
    for number, section in enumerate(chosen):
        brief = section.brief(summary)
        if brief:
            parts.append(f"## {section.title}\n\n{brief}" if number else brief)
    return paragraphs(*parts)


def _links(summary: RunSummary, linked: list[Section]) -> str:
    """Where everything else stands, and the command that reproduces the run."""

    def listed(page: Page) -> str:
        links = [f"[{each.title}]({page}#{each.anchor})" for each in linked if each.page == page]
        return ", ".join(links)

    folder = shlex.quote(summary.run.folder.path.resolve().name)
    return paragraphs(
        "## More",
        bullets(
            [
                f"Details: {listed('details.md')}",
                f"Code: {listed('code.md')}",
                "Numbers: [results.csv](results.csv), one row a training",
            ]
        ),
        "To reproduce this run, or to render its report again:",
        fence(f"{summary.run.manifest.command}\nbench report {folder}", "sh"),
    )

"""Writes ``report.md``, ``details.md``, ``code.md``, ``results.csv`` and ``figures/`` of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.analysis.metrics import csv_columns
from harness.analysis.summary import RunSummary, summarise
from harness.errors import BenchError
from harness.files import write_atomically
from harness.report.registry import GLOSSARY, SECTIONS
from harness.report.section import Page, Section, bullets, paragraphs
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
    path = summary.run.folder.path
    if not isinstance(summary.run.folder.environment, dict):
        raise BenchError(f"{path}: environment.json does not describe a machine")
    written = pages(summary)
    rows = cell_rows(summary.run.folder, csv_columns(summary.run))
    try:
        for name, content in figures(summary).items():
            write_atomically(path / name, content)
        write_atomically(path / "results.csv", to_csv(rows))
        # The report last, so that it never shows or links what is not there.
        for name, text in reversed(written.items()):
            write_atomically(path / name, text)
    except OSError as error:
        raise BenchError(f"cannot write the report to {path}: {error.strerror}") from error
    return path / FILE


def pages(summary: RunSummary) -> dict[str, str]:
    """Markdown by file name; draws nothing."""
    chosen = [section for section in SECTIONS if section.applies(summary)]
    bodies = [(section, section.body(summary)) for section in [*chosen, GLOSSARY]]
    bodies = [(section, body) for section, body in bodies if body]
    found = {FILE: _first_page(summary, chosen, [section for section, _ in bodies])}
    for page, heading in (("details.md", "Details"), ("code.md", "Code")):
        parts = [
            f"## {section.title}\n\n{body}" for section, body in bodies if section.page == page
        ]
        head = f"# {heading}: {subject(summary)}"
        found[page] = paragraphs(head, f"Back to [the report]({FILE}).", *parts) + "\n"
    return found


def figures(summary: RunSummary) -> dict[str, str | bytes]:
    """SVG text, or bytes of a PNG, by path below the run's folder."""
    from harness.report.plotting import house_style, svg

    drawings = [
        drawing
        for section in SECTIONS
        if section.applies(summary)
        for drawing in section.figures(summary)
    ]
    found: dict[str, str | bytes] = {}
    with house_style():
        for drawing in drawings:
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


def _first_page(summary: RunSummary, chosen: list[Section], linked: list[Section]) -> str:
    """Title, the briefs of the sections, and links to those that have a page."""
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
    return paragraphs(*parts, _links(summary, linked)) + "\n"


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

"""How each framework does the work, and what it requires of its user: from the real code."""

from __future__ import annotations

from harness import __version__
from harness.analysis.code import Part, whole
from harness.analysis.summary import RunSummary
from harness.backends.spec import BackendSpec, Practice
from harness.report.section import Section, folded, paragraphs
from harness.report.text import NOTHING, code, escape, fence, join, table


def body(summary: RunSummary) -> str:
    columns = families(summary)
    if not columns:
        return (
            "The files of these frameworks are not part of the harness that rendered this report."
        )
    style_notes = [summary.families[name][0].family.style_note for name in columns]
    return paragraphs(
        practices(summary, columns),
        lines(summary, columns),
        explanation(),
        *style_notes,
        *(_shown(part, columns) for part in summary.code),
        *(_extra(part) for part in summary.extra_code),
    )


def explanation() -> str:
    return (
        "Lines that hold code: blank lines, comments and docstrings do not count. Fewer is not "
        'better by itself. What comes "besides" is not in the sum of all; what only ties files '
        "together, and what finds or installs a framework, is not counted at all. This is the code "
        f"of the harness that rendered this report, version {__version__}; the commit that made "
        "the run stands under [Environment](details.md#environment)."
    )


def families(summary: RunSummary) -> dict[str, str]:
    """Families whose code is at hand, and what stands over it."""
    return {
        name: _column(specs)
        for name, specs in summary.families.items()
        if any(name in part.sources for part in summary.code)
    }


def _column(specs: list[BackendSpec]) -> str:
    idiom, titles = specs[0].family.style, join([spec.title for spec in specs])
    return f"{idiom}: {titles}" if idiom else titles


def practices(summary: RunSummary, columns: dict[str, str]) -> str:
    """One row a piece of the work, one column a family that describes it."""
    found = {
        name: practice
        for name in columns
        if (practice := summary.families[name][0].family.practice) is not None
    }
    if not found:
        return ""
    practised = list(found.values())
    rows = [
        ["Building the model", *(each.model for each in practised)],
        ["Training", *(each.training for each in practised)],
        ["Loading data", *(each.data for each in practised)],
        ["What its user must know", *("; ".join(each.requires) for each in practised)],
        ["Written by hand here", *("; ".join(each.by_hand) or NOTHING for each in practised)],
        ["Documentation", *(_links(each) for each in practised)],
    ]
    return table(["Work", *(escape(columns[name]) for name in found)], rows)


def _links(practice: Practice) -> str:
    return ", ".join(f"[{escape(title)}]({url})" for title, url in practice.links)


def lines(summary: RunSummary, columns: dict[str, str]) -> str:
    """One row a part, one column a family; their sum, then what some variants have besides."""
    rows = [[escape(p.title), *(_count(p.lines(f)) for f in columns)] for p in summary.code]
    if len(rows) > 1:
        rows.append(["**all**", *(_count(whole(summary.code, family)) for family in columns)])
    rows += [
        [f"besides, {escape(part.title)}", *(_count(part.lines(family)) for family in columns)]
        for part in summary.extra_code
    ]
    header = ["Lines of code", *map(escape, columns.values())]
    return table(header, rows, align="l" + "r" * len(columns))


def _count(count: int | None) -> str:
    return NOTHING if count is None else str(count)


def _shown(part: Part, columns: dict[str, str]) -> str:
    """The files of all families."""
    blocks = [
        f"{escape(columns[family])}, `{file.path}`:\n\n{fence(file.text, file.language.fence)}"
        for family, files in part.sources.items()
        for file in files
    ]
    return folded(escape(part.title), paragraphs(*blocks))


def _extra(part: Part) -> str:
    files = [file for files in part.sources.values() for file in files]
    listing = table(
        ["File", "Lines of code"], [[code(f.path), _count(f.lines)] for f in files], align="lr"
    )
    blocks = [f"`{f.path}`:\n\n{fence(f.text, f.language.fence)}" for f in files]
    if not part.shown:
        blocks = ["Too long to show here: these files lie in the repository of the harness."]
    return folded(escape(part.title), paragraphs(listing, *blocks))


def side_by_side(summary: RunSummary) -> str:
    """HTML: the tables, then every part with the files of all families beside one another."""
    from harness.report import html

    columns = families(summary)
    if not columns:
        return html.to_html(body(summary))
    tables = paragraphs(practices(summary, columns), lines(summary, columns), explanation())
    return "".join([html.to_html(tables), *(_grid(part, columns) for part in summary.code)])


def _grid(part: Part, columns: dict[str, str]) -> str:
    from html import escape as to_text

    from harness.report import html

    cells = []
    for family, files in part.sources.items():
        blocks = "".join(
            f"<p><code>{to_text(file.path)}</code></p>"
            f"{html.code_block(file.text, file.language.fence)}"
            for file in files
        )
        cells.append(f"<div><p>{to_text(columns[family])}</p>{blocks}</div>")
    shown = f'<div class="side">{"".join(cells)}</div>'
    return f"<details><summary>{to_text(part.title)}</summary>{shown}</details>"


SECTION = Section(title="How each framework does it", page="code.md", body=body, html=side_by_side)

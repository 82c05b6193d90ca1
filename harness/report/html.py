"""``report.html``: the same sections as one self-contained file, with interactive figures."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from harness.analysis.summary import RunSummary
from harness.report.charts import Chart
from harness.report.markdown import drawings, subject
from harness.report.section import Section
from harness.report.text import plain

FILE = "report.html"
SPLIT = "<!-- sections -->"
FRAME = '<div class="table" role="region" aria-label="table" tabindex="0">'
LIGHT, DARK = "default", "github-dark"
"""Styles of Pygments."""


def page(
    summary: RunSummary,
    first: str,
    bodies: list[tuple[Section, str]],
    figures: Mapping[str, str | bytes],
    csv: str,
    rows: list[dict[str, Any]],
) -> str:
    """The whole file.

    ``first`` page and ``bodies`` are Markdown, ``figures`` are by path; ``csv`` and ``rows`` the
    results to download.
    """
    charts: list[Chart] = []
    images = {}
    for drawing in drawings(summary):
        if drawing.chart is not None:
            images[drawing.path] = _chart(drawing.alt, len(charts))
            charts.append(drawing.chart())
        elif drawing.path in figures:
            images[drawing.path] = _image(drawing.alt, figures[drawing.path])
    sections, links = [], []
    for section, body in bodies:
        rendered = section.html(summary) if section.html else _html(body, images)
        title = section.title
        if f"\n## {title}\n" in first:  # a page has no two headings that say the same
            title += ": details"
        sections.append(
            f'<section aria-labelledby="{section.anchor}"><h2 id="{section.anchor}">'
            f"{escape(title)}</h2>{rendered}</section>"
        )
        links.append(f'<a href="#{section.anchor}">{escape(title)}</a>')
    parts = {
        "TITLE": escape(plain(subject(summary))),
        "FIRST": _html(first, images),
        "NAVIGATION": " ".join(links),
        "SECTIONS": "\n".join(sections),
        "DOWNLOADS": _downloads(csv, rows),
        "CHARTS": _json(charts),
        "STYLE": _file("report.css") + _pygments(),
        "PLOTLY": _plotly() if charts else "",
        "SCRIPT": _file("report.js"),
    }
    parts["SECTIONS"] = _numbered(parts["FIRST"] + SPLIT + parts["SECTIONS"])
    parts["FIRST"], _, parts["SECTIONS"] = parts["SECTIONS"].partition(SPLIT)
    pattern = re.compile("@@(" + "|".join(parts) + ")@@")
    return pattern.sub(lambda match: parts[match[1]], _file("report.html"))


def _html(markdown: str, images: Mapping[str, str]) -> str:
    """Markdown as HTML, figures in it, tables in frames that scroll."""
    rendered = MarkdownIt("commonmark", {"highlight": _highlight}).enable("table").render(markdown)
    rendered = re.sub(r"<p>(<img [^>]*>)</p>", r"\1", rendered)
    rendered = re.sub(r'<img src="([^"]+)"[^>]*>', lambda match: images.get(match[1], ""), rendered)
    rendered = re.sub(r'href="(?:details|code)\.md#', 'href="#', rendered)
    rendered = rendered.replace('href="results.csv"', 'href="#downloads"')
    rendered = re.sub(r'href="(?:report\.md|parity\.json)"', 'href="#top"', rendered)
    rendered = rendered.replace('<th style="', '<th scope="col" style="')
    return rendered.replace("<table>", FRAME + "<table>").replace("</table>", "</table></div>")


def _numbered(page: str) -> str:
    """Every frame of a table with a name of its own, for screen readers."""
    first, *others = page.split(FRAME)
    named = [
        FRAME.replace('"table" tab', f'"table {number}" tab') + rest
        for number, rest in enumerate(others, start=1)
    ]
    return first + "".join(named)


def _highlight(code: str, language: str, _: str) -> str:
    try:
        lexer = get_lexer_by_name(language or "text")
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    lines = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="code" tabindex="0"><code>{lines}</code></pre>'


def to_html(markdown: str) -> str:
    """Markdown without figures as HTML."""
    return _html(markdown, {})


def code_block(code: str, language: str) -> str:
    """Highlighted code as HTML."""
    return _highlight(code, language, "")


def _chart(alt: str, number: int) -> str:
    return (
        f'<figure><div class="chart" id="chart-{number}" role="group" aria-label="{escape(alt)}">'
        f"</div><figcaption>{escape(alt)}</figcaption></figure>"
    )


def _image(alt: str, content: str | bytes) -> str:
    kind = "png" if isinstance(content, bytes) else "svg+xml"
    data = content if isinstance(content, bytes) else content.encode()
    encoded = base64.b64encode(data).decode()
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'
        f"<figcaption>{escape(alt)}</figcaption></figure>"
    )


def _downloads(csv: str, rows: list[dict[str, Any]]) -> str:
    known = [{name: value for name, value in row.items() if value == value} for row in rows]
    files = {
        "results.csv": ("text/csv", csv),
        "results.json": ("application/json", _json(known)),
    }
    return " ".join(
        f'<a download="{name}" href="data:{kind};base64,'
        f'{base64.b64encode(text.encode()).decode()}">{name}</a>'
        for name, (kind, text) in files.items()
    )


def _json(value: Any) -> str:
    """That may stand within a script element; what was not reached (NaN) is null."""
    text = json.dumps(_known(value), separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", "\\u003c")


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pygments() -> str:
    light = HtmlFormatter(style=LIGHT).get_style_defs("pre.code")
    dark = HtmlFormatter(style=DARK).get_style_defs("pre.code")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _plotly() -> str:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


def _file(name: str) -> str:
    return (resources.files("harness.report") / "static" / name).read_text("utf-8")

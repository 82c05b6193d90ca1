"""What a section of the report is made of; one module of ``harness.report.sections`` each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.analysis.run import Workload
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.report.text import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Page = Literal["details.md", "code.md"]


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when it is written, and not where it is referred to."""

    path: str
    """Below the run's folder."""
    alt: str
    """What it shows, for readers without pictures."""
    draw: Callable[[], Figure | bytes]
    """A figure of matplotlib, or the bytes of a PNG."""
    chart: Callable[[], dict[str, Any]] | None = None
    """The same for ``report.html``: data and layout of an interactive figure."""

    @property
    def markdown(self) -> str:
        return f"![{escape(self.alt)}]({self.path})"


def drawing(
    workload: Workload,
    kind: str,
    alt: str,
    draw: Callable[[], Figure | bytes],
    chart: Callable[[], dict[str, Any]] | None = None,
    suffix: str = "svg",
) -> Drawing:
    """Of one workload, in ``figures/``."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{workload.dataset}-{workload.model}")
    return Drawing(f"figures/{stem}-{kind}.{suffix}", f"{alt}: {workload.title}", draw, chart)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section: when it applies, its Markdown and its figures, all from one run's summary."""

    title: str
    page: Page = "details.md"
    applies: Callable[[RunSummary], bool] = lambda summary: True
    brief: Callable[[RunSummary], str] = lambda summary: ""
    """Markdown for the first page, ``report.md``."""
    body: Callable[[RunSummary], str] = lambda summary: ""
    """Markdown for its ``page``."""
    html: Callable[[RunSummary], str] | None = None
    """HTML for ``report.html`` in place of the body's, where it shows more than Markdown can."""
    figures: Callable[[RunSummary], list[Drawing]] = lambda summary: []
    terms: Callable[[RunSummary], list[str]] = lambda summary: []
    """Entries of the glossary at the end of ``details.md``: what its numbers mean."""

    @property
    def anchor(self) -> str:
        """Of its heading, as GitHub makes it."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def for_workloads(
    *,
    title: str,
    applies: Callable[[WorkloadSummary], bool] = lambda each: True,
    brief: Callable[[WorkloadSummary], str] | None = None,
    body: Callable[[WorkloadSummary], str] | None = None,
    figures: Callable[[WorkloadSummary], list[Drawing]] = lambda each: [],
    terms: Callable[[RunSummary], list[str]] = lambda summary: [],
    intro: str = "",
) -> Section:
    """A section that says the same of every workload to which it applies."""

    def chosen(summary: RunSummary) -> list[WorkloadSummary]:
        return [each for each in summary.workloads if applies(each)]

    def written(of: Callable[[WorkloadSummary], str]) -> Callable[[RunSummary], str]:
        def write(summary: RunSummary) -> str:
            parts = []
            for each in chosen(summary):
                heading = f"### {escape(each.workload.title)}" if len(summary.workloads) > 1 else ""
                parts.append(paragraphs(heading, of(each)))
            return paragraphs(*parts)

        return write

    def with_intro(summary: RunSummary) -> str:
        return paragraphs(intro, written(body)(summary)) if body else ""

    return Section(
        title=title,
        applies=lambda summary: bool(chosen(summary)),
        brief=written(brief) if brief else lambda summary: "",
        body=with_intro,
        figures=lambda summary: [figure for each in chosen(summary) for figure in figures(each)],
        terms=terms,
    )


def paragraphs(*parts: str) -> str:
    """Those that are not empty, a blank line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def folded(summary: str, content: str) -> str:
    """``content`` behind a line that opens it."""
    if not content.strip():
        return ""
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"

"""Numbers, and text from outside, as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from harness.console import plural as plural
from harness.stats.statistics import CONFIDENCE, Estimate

NOTHING = "—"
"""Stands in a table where there is no number."""
UNDEFINED = "undefined"
"""Stands where a score is not defined for what the test split holds."""
_SPECIAL = re.compile(r"([\\`*_\[\]~$#])")


def escape(text: str) -> str:
    """``text`` from outside, so that Markdown shows it as it is, on one line."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def plain(markdown: str) -> str:
    """Markdown of this package's sentences as plain text: no emphasis, code marks or escapes."""
    text = re.sub(r"(?<!\\)(\*\*|`+)", "", markdown)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    text = re.sub(r"\\([\\`*_\[\]~$#])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def code(text: str) -> str:
    """``text`` as inline code, whatever backticks it holds."""
    flat = " ".join(text.split())
    if not flat:
        return ""
    ticks = "`" * (_longest_run("`", flat) + 1)
    space = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{ticks}{space}{flat}{space}{ticks}"


def fence(text: str, language: str = "") -> str:
    """``text`` as a fenced block, whatever fences it holds itself."""
    ticks = "`" * max(3, _longest_run("`", text) + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, align: str = "") -> str:
    """A table of Markdown cells; ``align`` has one of 'l', 'r' for each column (default 'l').

    Pipes and line breaks are made harmless here, and only here.
    """
    marks = {"l": ":---", "r": "---:"}
    rule = [marks[letter] for letter in align or "l" * len(header)]
    lines = [list(header), rule, *map(list, rows)]
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"a row of {len(line)} cells under a header of {len(header)}: {line}")
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def shorten(text: str, limit: int = 300) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3].rstrip() + "..."


def join(names: Sequence[str]) -> str:
    """'A', 'A and B', 'A, B and C'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def capitalised(text: str) -> str:
    """'mean AUROC' -> 'Mean AUROC'"""
    return text[:1].upper() + text[1:]


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, never in exponent notation above 0.001; thousands separated."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "infinite"
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def interval_name() -> str:
    """'95 %'"""
    return f"{100 * CONFIDENCE:.0f} %"


def percent_places(examples: int) -> int:
    """Decimal places of a percentage that ``examples`` images can carry."""
    return 1 if examples < 2000 else 2


def percent(share: float, places: int) -> str:
    return NOTHING if math.isnan(share) else f"{100 * share:.{places}f} %"


def percent_interval(estimate: Estimate, places: int) -> str:
    """'97.8 % (95.7 to 99.0)'"""
    shown = percent(estimate.value, places)
    if not estimate.has_interval:
        return shown
    return f"{shown} ({100 * estimate.low:.{places}f} to {100 * estimate.high:.{places}f})"


def auroc_interval(estimate: Estimate) -> str:
    """'0.712 (0.651 to 0.770)'"""
    if math.isnan(estimate.value):
        return UNDEFINED
    if not estimate.has_interval:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def score(estimate: Estimate | None, display: str, examples: int) -> str:
    """A metric's value and interval, displayed as :class:`harness.metrics.Metric` says."""
    if estimate is None or math.isnan(estimate.value):
        return UNDEFINED
    if display == "percent":
        return percent_interval(estimate, percent_places(examples))
    return auroc_interval(estimate) if display == "share" else speed(estimate)


def difference_parts(estimate: Estimate) -> tuple[str, str]:
    """Value and interval of a difference with its sign, the interval rounded outwards.

    Four decimal places; more where the interval is so narrow that these would not show it.
    """
    if not estimate.has_interval:
        return f"{estimate.value:+.4f}", ""
    width = estimate.high - estimate.low
    if width == 0 and estimate.value == 0:
        return "0", "0 to 0"
    places = max(4, 1 - math.floor(math.log10(width))) if width > 0 else 4
    scale = 10**places
    low, high = math.floor(estimate.low * scale) / scale, math.ceil(estimate.high * scale) / scale
    return f"{estimate.value:+.{places}f}", f"{low:+.{places}f} to {high:+.{places}f}"


def speed(estimate: Estimate) -> str:
    """'12,340 (12,100 to 12,600)'"""
    shown = number(estimate.value)
    if not estimate.has_interval:
        return shown
    return f"{shown} ({number(estimate.low)} to {number(estimate.high)})"


def ratio_parts(estimate: Estimate) -> tuple[str, str]:
    """Value and interval of a ratio, the interval rounded outwards so that it never promises more.

    Two decimal places; three where the interval is narrower than 0.1.
    """
    if not estimate.has_interval:
        return f"{estimate.value:.2f}", ""
    places = 3 if estimate.high - estimate.low < 0.1 else 2
    scale = 10**places
    low = math.floor(estimate.low * scale) / scale
    high = math.ceil(estimate.high * scale) / scale
    return f"{estimate.value:.{places}f}", f"{low:.{places}f} to {high:.{places}f}"


def ratio(estimate: Estimate | None) -> str:
    """'1.32 (1.28 to 1.36)'"""
    if estimate is None or math.isnan(estimate.value):
        return NOTHING
    value, interval = ratio_parts(estimate)
    return f"{value} ({interval})" if interval else value


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _longest_run(character: str, text: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(character)}+", text)), default=0)

"""What an import found, what it used, what it left out and why, and which rules decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pydantic

from harness.console import printable
from harness.errors import BenchError

EXAMPLES = 5  # names in a message, or kept in a summary


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class LeftOut(_Record):
    """Some of what was found and is not in the data set."""

    what: str
    """``image files``, ``rows``, ``columns``, ``arrays``, ..."""
    reason: str
    count: int
    examples: tuple[str, ...] = ()
    """The first few names, printable."""


class ImportSummary(_Record):
    """The account of one import; part of the data set file."""

    found: dict[str, int] = pydantic.Field(default_factory=dict)
    used: dict[str, int] = pydantic.Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    decisions: tuple[str, ...] = ()
    """The rules that were applied, as sentences."""
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """The summary as (heading, text)."""
        rows = [("found", _counts(self.found)), ("used", _counts(self.used))]
        for group in self.left_out:
            names = listed(group.examples, group.count)
            text = f"{group.count} {group.what}: {group.reason}"
            rows.append(("left out", f"{text} ({names})" if names else text))
        rows += [("rule", text) for text in self.decisions]
        rows += [("warning", text) for text in self.warnings]
        return [(heading, text) for heading, text in rows if text]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


class AmbiguousError(BenchError):
    """Two readings are possible; the message names the options that decide."""


class Account:
    """Collects the summary of one import while a source reads.

    ``where`` begins the messages. ``yes``: take the documented default where two readings are
    possible, and record it, instead of stopping.
    """

    def __init__(self, where: Path, yes: bool = False) -> None:
        self.where = where
        self.yes = yes
        self.found: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.left_out: list[LeftOut] = []
        self.decisions: list[str] = []
        self.warnings: list[str] = []

    def leave_out(self, what: str, reason: str, names: Sequence[str]) -> None:
        """Record things that are not used; nothing for an empty list."""
        if not names:
            return
        examples = tuple(printable(name) for name in names[:EXAMPLES])
        new = LeftOut(what=what, reason=reason, count=len(names), examples=examples)
        self.left_out.append(new)

    def decide(self, rule: str) -> None:
        """Record a rule that was applied."""
        if printable(rule) not in self.decisions:
            self.decisions.append(printable(rule))

    def warn(self, warning: str) -> None:
        if printable(warning) not in self.warnings:
            self.warnings.append(printable(warning))

    def choose(self, reading: str, options: str, default: str) -> None:
        """Stop because ``reading`` has two meanings, unless ``--yes`` accepts the default.

        Raises:
            AmbiguousError: names ``options`` and what ``--yes`` stands for.
        """
        if not self.yes:
            raise AmbiguousError(f"{self.where}: {reading}; pass {options} (--yes: {default})")
        self.decide(f"{reading}: {default} (--yes)")

    def summary(self) -> ImportSummary:
        return ImportSummary(
            found=self.found,
            used=self.used,
            left_out=tuple(self.left_out),
            decisions=tuple(self.decisions),
            warnings=tuple(self.warnings),
        )


def listed(names: Iterable[object], total: int | None = None, limit: int = EXAMPLES) -> str:
    """The first few of ``names``, printable, with dots where there are more."""
    texts = [printable(str(name)) for name in names]
    more = len(texts) > limit or (total is not None and total > min(len(texts), limit))
    return ", ".join(texts[:limit] + ["..."] * (more and bool(texts)))

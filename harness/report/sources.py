"""The code that each framework needs for the same work: read as text, never imported."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import harness.backends
from harness.backends.registry import BackendSpec

BACKENDS_FOLDER = Path(harness.backends.__file__).parent


@dataclass(frozen=True)
class Language:
    fence: str
    """What a fenced block of it is called."""
    count: Callable[[str], int]


@dataclass(frozen=True)
class Source:
    """One file of one family."""

    family: str
    path: str
    """Below ``harness/backends``."""
    language: Language
    text: str

    @property
    def lines(self) -> int | None:
        """Lines of code, or None where the file cannot be parsed."""
        try:
            return self.language.count(self.text)
        except (SyntaxError, tokenize.TokenError):
            return None


@dataclass(frozen=True)
class Part:
    """One piece of work, as every family does it."""

    title: str
    sources: dict[str, tuple[Source, ...]]
    """By family; a family without such a file has none."""

    def lines(self, family: str) -> int | None:
        counts = [source.lines for source in self.sources.get(family, ())]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None


def parts(families: Iterable[str], modules: dict[str, str], root: Path) -> list[Part]:
    """Model by model (``modules``: file name -> title), then training and data loading."""
    stems = {
        **{f"models/{module}": f"model: {title}" for module, title in modules.items()},
        "train": "training",
        "data": "data loading",
    }
    names = tuple(families)
    found = [
        Part(title, {family: files for family in names if (files := _read(root, family, stem))})
        for stem, title in stems.items()
    ]
    return [part for part in found if part.sources]


def additions(specs: Iterable[BackendSpec], root: Path) -> list[Part]:
    """What each variant has besides its family's files, one part a variant."""
    found = []
    for spec in specs:
        stems = [name.rpartition(".")[0] for name in spec.additions]
        files = tuple(file for stem in stems for file in _read(root, spec.family, stem))
        if files:
            found.append(Part(f"only in {spec.title}: {spec.summary}", {spec.family: files}))
    return found


def _read(root: Path, family: str, stem: str) -> tuple[Source, ...]:
    found = []
    for suffix, language in LANGUAGES.items():
        path = root / family / f"{stem}{suffix}"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            found.append(Source(family, f"{family}/{stem}{suffix}", language, text))
    return tuple(found)


def python_lines(text: str) -> int:
    """Lines that hold code: no blank lines, comments or docstrings.

    A bare string counts as a docstring wherever it stands (it may describe an attribute).

    Raises:
        SyntaxError: not Python.
    """
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            # The statement in front of it on its line, as in `def f(): "doc"`, is code.
            shares = text.splitlines()[node.lineno - 1].encode()[: node.col_offset].strip()
            last = node.end_lineno or node.lineno
            documented |= set(range(node.lineno + bool(shares), last + 1))
    layout = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENCODING, tokenize.ENDMARKER,
    }  # fmt: skip
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            held |= set(range(token.start[0], token.end[0] + 1))
    blank = {n for n, line in enumerate(text.splitlines(), start=1) if not line.strip()}
    return len(held - documented - blank)


def julia_lines(text: str) -> int:
    """Lines that hold code: no blank lines, comments, or documentation strings on their own lines.

    Counted by line, not parsed: a ``#=`` or a triple quote is seen only where it starts a line.
    """
    count = 0
    until: str | None = None
    for line in map(str.strip, text.splitlines()):
        if until is not None:
            if line.endswith(until):
                until = None
        elif line.startswith("#="):
            until = None if line.endswith("=#") else "=#"
        elif line.startswith('"""'):
            until = None if len(line) > 3 and line.endswith('"""') else '"""'
        elif line and not line.startswith("#"):
            count += 1
    return count


LANGUAGES = {
    ".py": Language("python", python_lines),
    ".jl": Language("julia", julia_lines),
}
"""By suffix; a family may have files of the same part in both."""

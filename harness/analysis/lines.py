"""Counting lines of code: no blank lines, comments or documentation."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    fence: str
    """What a fenced block of it is called."""
    held: Callable[[str], set[int]]
    """Numbers of the lines that hold code, from 1."""

    def count(self, text: str) -> int | None:
        """How many lines hold code, or None where ``text`` cannot be read."""
        try:
            return len(self.held(text))
        except (SyntaxError, tokenize.TokenError):
            return None


def python_lines(text: str) -> set[int]:
    """Lines of Python that hold code.

    A bare string counts as a docstring wherever it stands (it may describe an attribute).

    Raises:
        SyntaxError, tokenize.TokenError: not Python.
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
    return held - documented - blank


@dataclass(frozen=True)
class _Token:
    kind: str
    start: int
    end: int


_JULIA = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<space>[^\S\n]+)
    | (?P<block>\#=)
    | (?P<comment>\#[^\n]*)
    | (?P<prefixed>[^\W\d]\w*(?:"{3}|"|`{3}|`))
    | (?P<string>"{3}|")
    | (?P<command>`{3}|`)
    | (?P<word>\w+!?)
    | (?P<character>'(?:\\[^\n][^'\n]*|[^'\\\n])')
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LAYOUT = {"newline", "space", "comment", "block"}
_CLOSING = {"end", "else", "elseif", "catch", "finally"}
_CONTINUING = set("=+-*/\\÷%^&|<>?:,~∈")
"""A line that ends in one of these operators goes on in the next."""


def julia_lines(text: str) -> set[int]:
    """Lines of Julia that hold code.

    A string literal is documentation where it is a statement of its own outside brackets, with
    something below it to describe: at the end of a block it would be the block's value.

    Raises:
        SyntaxError: a string or a block comment does not end.
    """
    tokens = list(_julia_tokens(text, 0))
    significant = [token for token in tokens if token.kind not in _LAYOUT]
    held: set[int] = set()
    depth = 0
    for place, token in enumerate(significant):
        depth += (token.kind == "open") - (token.kind == "close")
        before = significant[place - 1] if place else None
        after = significant[place + 1] if place + 1 < len(significant) else None
        if token.kind == "string" and depth == 0 and _documents(text, before, token, after):
            continue
        first = text.count("\n", 0, token.start) + 1
        last = text.count("\n", 0, token.end) + 1
        held |= set(range(first, last + 1))
    blank = {n for n, line in enumerate(text.split("\n"), start=1) if not line.strip()}
    return held - blank


def _documents(text: str, before: _Token | None, token: _Token, after: _Token | None) -> bool:
    """Whether a string outside brackets stands alone, above what it describes."""
    if after is None or "\n" not in text[token.end : after.start]:
        return False
    if text[after.start : after.end] in _CLOSING:
        return False
    if before is None:
        return True
    if "\n" not in text[before.end : token.start]:
        return text[before.start : before.end] == ";"
    return text[before.start : before.end] not in _CONTINUING


def _julia_tokens(text: str, at: int) -> Iterator[_Token]:
    """Tokens from ``at`` to the end, or to the bracket that closes none of theirs."""
    depth = 0
    value_ends = -1  # where a value ended, after which a ' is a transposition
    while at < len(text):
        match = _JULIA.match(text, at)
        assert match is not None  # `other` takes anything
        kind, end = str(match.lastgroup), match.end()
        if kind == "character" and value_ends == at:
            kind, end = "other", at + 1
        elif kind == "block":
            end = _block_comment_end(text, end)
        elif kind in ("string", "command", "prefixed"):
            quote = match.group()[len(match.group().rstrip('"`')) :]
            end = _string_end(text, end, quote, interpolated=kind != "prefixed")
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            return
        transposed = kind == "other" and text[at] == "'"
        if transposed or kind in ("word", "close", "string", "prefixed", "character"):
            value_ends = end
        yield _Token(kind, at, end)
        at = end


def _string_end(text: str, at: int, quote: str, *, interpolated: bool) -> int:
    """Behind the ``quote`` that ends the string whose content starts at ``at``."""
    start = at
    while at < len(text):
        if text.startswith(quote, at):
            return at + len(quote)
        if text[at] == "\\":
            at += 2
        elif interpolated and text.startswith("$(", at):
            at += 2
            for token in _julia_tokens(text, at):
                at = token.end
            at += 1  # its closing bracket
        else:
            at += 1
    raise SyntaxError(f"a string does not end: {text[start : start + 20]!r}")


def _block_comment_end(text: str, at: int) -> int:
    """Behind the ``=#`` that ends a comment; comments nest."""
    start, depth = at, 1
    while depth:
        match = re.compile("#=|=#").search(text, at)
        if match is None:
            raise SyntaxError(f"a comment does not end: {text[start : start + 20]!r}")
        depth += 1 if match.group() == "#=" else -1
        at = match.end()
    return at


LANGUAGES = {
    ".py": Language("python", python_lines),
    ".jl": Language("julia", julia_lines),
}
"""By suffix."""

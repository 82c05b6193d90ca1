"""The languages of backends, and counting their code: no blank lines, comments, documentation."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pygments.lexers.julia import JuliaLexer
from pygments.token import Comment, Literal, Whitespace


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
class _Unit:
    """A token of code, or a whole string literal."""

    start: int
    end: int
    text: str
    is_string: bool = False


_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
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
    units = list(_units(text))
    held: set[int] = set()
    depth = 0
    for before, unit, after in zip([None, *units], units, [*units[1:], None], strict=False):
        depth += 0 if unit.is_string else _BRACKETS.get(unit.text, 0)
        if unit.is_string and depth == 0 and _documents(text, before, unit, after):
            continue
        first = text.count("\n", 0, unit.start) + 1
        held |= set(range(first, first + unit.text.count("\n") + 1))
    blank = {n for n, line in enumerate(text.split("\n"), start=1) if not line.strip()}
    return held - blank


def _documents(text: str, before: _Unit | None, unit: _Unit, after: _Unit | None) -> bool:
    """Whether a string outside brackets stands alone, above what it describes."""
    if after is None or "\n" not in text[unit.end : after.start] or after.text in _CLOSING:
        return False
    if before is None:
        return True
    if "\n" not in text[before.end : unit.start]:
        return before.text == ";"
    return before.text not in _CONTINUING


def _units(text: str) -> Iterator[_Unit]:
    """The code of ``text`` by Pygments' tokens, each string literal in one piece."""
    opened: list[tuple[int, str, int]] = []  # strings: start, quote, depth of brackets in it
    comments = 0
    for start, kind, value in JuliaLexer(stripnl=False).get_tokens_unprocessed(text):
        end = start + len(value)
        if kind in Comment:
            comments += (value == "#=") - (value == "=#")
        elif kind in Literal.String and value in ('"', '"""', "`", "```"):
            if opened and opened[-1][1:] == (value, 0):
                first = opened.pop()[0]
                if not opened:
                    yield _Unit(first, end, text[first:end], is_string=True)
            else:
                opened.append((start, value, 0))
        elif opened:
            first, quote, depth = opened[-1]
            change = 0 if kind in Literal.String else _BRACKETS.get(value, 0)
            opened[-1] = (first, quote, depth + change)
        elif kind not in Whitespace:
            yield _Unit(start, end, value)
    if opened or comments:
        raise SyntaxError(f"a {'string' if opened else 'comment'} does not end")


LANGUAGES = {
    ".py": Language("python", python_lines),
    ".jl": Language("julia", julia_lines),
}
"""By suffix."""

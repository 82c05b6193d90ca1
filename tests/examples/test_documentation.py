"""The code in ``docs/extending.md`` is that of the examples, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(?:python|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SOURCES = [
    path.read_text("utf-8")
    for path in (ROOT / "examples").rglob("*")
    if path.suffix in (".py", ".toml")
]


def paragraphs(code: str) -> list[str]:
    return [part for part in re.split(r"\n{2,}", code.strip("\n")) if part.strip()]


def stands_in(part: str, source: str) -> bool:
    """Whether the lines are part of a file, at whatever indentation."""
    return any(f"{indent(part, ' ' * depth)}\n" in source for depth in (0, 4, 8))


@pytest.mark.parametrize("part", [part for block in BLOCKS for part in paragraphs(block)])
def test_code_is_that_of_an_example(part: str) -> None:
    assert any(stands_in(part, source) for source in SOURCES), part


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((\.\./[^)]+)\)", PAGE))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from harness.console import Terminal, plural, progress_bar, terminal

HARNESS = Path(__file__).parents[1] / "harness"


def test_nothing_is_shown_where_nobody_watches(capsys):
    with progress_bar("decoding", 10) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_person_sees_how_far_it_is(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(Terminal, "is_interactive", True)
    monkeypatch.setitem(
        terminal.__dict__, "err", Console(file=stream, force_terminal=True, width=100)
    )
    with progress_bar("decoding", 10, done=4) as advance:
        advance(3)
    assert "decoding" in stream.getvalue()
    assert "7/10" in stream.getvalue()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((1, "image"), "1 image"),
        ((0, "image", "is"), "0 images are"),
        ((1, "file", "holds"), "1 file holds"),
        ((1200, "file", "holds"), "1,200 files hold"),
        ((2, "group", "has"), "2 groups have"),
    ],
)
def test_nouns_and_verbs_agree_with_their_number(arguments, shown):
    assert plural(*arguments) == shown


@pytest.mark.parametrize(
    "text",
    [
        """f"{len(found)} images are too large\"""",
        """f"{count} images were read\"""",
        """f"{plural(n, 'image')} were read\"""",
    ],
)
def test_a_count_that_could_be_one_is_noticed(text):
    assert list(counts_with_plurals(ast.parse(text)))


def test_no_message_says_1_images_are():
    """A number that code counts may be 1; ``plural`` gives noun and verb in its number."""
    found = [
        f"{path}:{line}: {text}"
        for path in sorted(HARNESS.rglob("*.py"))
        for line, text in counts_with_plurals(ast.parse(path.read_text("utf-8")))
    ]
    assert found == [], "say it with plural(count, noun, verb)"


def counts_with_plurals(tree):
    """Line and text of every f-string with a count before a verb of many."""
    verbs = "are|have|were|hold|keep|use|do|limit|lie|stay|count|need"
    nouns = re.compile(rf" (?:[a-z]+ )?[a-z]+s (?:{verbs})\b")
    verb = re.compile(rf" (?:[a-z]+ )?(?:{verbs})\b")
    for string in ast.walk(tree):
        if not isinstance(string, ast.JoinedStr):
            continue
        parts = ["", *string.values]
        for before, value, after in zip(parts, parts[1:], parts[2:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            shown = ast.unparse(value.value)
            counted = "plural(" in shown
            bare = shown.startswith("len(") or shown == "count"
            share = isinstance(before, ast.Constant) and before.value.endswith(" of ")
            if (counted and verb.match(after.value)) or (
                bare and not share and nouns.match(after.value)
            ):
                yield string.lineno, ast.unparse(string)

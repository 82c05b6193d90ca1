"""Tables fit the terminal."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.cli import main
from harness.cli.tables import print_cells
from harness.console import terminal


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch):
    """``screen(width)``: what is printed as on a terminal so wide."""

    def make(width: int) -> io.StringIO:
        text = io.StringIO()
        console = Console(
            file=text, force_terminal=True, width=width, color_system=None, soft_wrap=True
        )
        monkeypatch.setitem(terminal.__dict__, "out", console)
        return text

    return make


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        ("list", "frameworks"),
        ("list", "models"),
        ("list", "datasets"),
        ("list", "runs", "."),
        ("data", "list"),
        ("doctor", "--frameworks", "julia-reference"),
        ("compare", "a", "b"),
    ],
    ids=" ".join,
)
def test_no_line_is_longer_than_the_terminal(words, width, screen, made_up, tmp_path, monkeypatch):
    made_up("a"), made_up("b", rate=900.0)
    monkeypatch.chdir(tmp_path)
    text = screen(width)
    got = CliRunner().invoke(main, list(words))
    assert got.exit_code == 0, got.output
    lines = text.getvalue().splitlines()
    table = [line for line in lines if not line.startswith(("Training speed", "A: ", "B: "))]
    assert table
    assert max(map(len, table)) <= width


def test_a_row_that_does_not_fit_becomes_a_paragraph(screen):
    rows = [["one", "x" * 30, ""], ["two", "y", "3"]]
    wide = screen(80)
    print_cells(["name", "what", "number"], rows, [False, False, True])
    assert wide.getvalue().splitlines()[0].split() == ["name", "what", "number"]
    narrow = screen(24)
    print_cells(["name", "what", "number"], rows, [False, False, True])
    text = narrow.getvalue()
    assert [line for line in text.splitlines() if not line.startswith(" ")] == ["one", "two"]
    assert "number" in text.split("two")[1]
    assert "number" not in text.split("two")[0], "an empty cell is left out"

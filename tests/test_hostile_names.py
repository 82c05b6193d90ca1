"""Names that try to be more than names do no harm where they are printed or stored."""

from __future__ import annotations

import io
import re

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.markup import escape
from rich.table import Table

from harness.cli import main
from harness.console import Terminal, printable, terminal
from harness.data.reader import open_dataset
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.results.load import to_csv

HOSTILE = {
    "html": "<img src=x onerror=alert(1)>",
    "script": "</td><script>alert(1)</script>",
    "markdown": "[click](javascript:alert) **b** `c` | d",
    "image": "![x](http://example.org/x.png)",
    "heading": "# heading",
    "ansi": "\x1b[31mred\x1b[0m",
    "clears the screen": "\x1b[2J\x1b]0;title\x07",
    "c1": "\x9b31m",
    "backspace": "right\b\b\b\b\bwrong",
    "carriage return": "right\rwrong",
    "newline": "one\ntwo",
    "tab": "one\ttwo",
    "line separator": "one\u2028two",
    "turned around": "txt.\u202egnp",
    "isolated": "\u2066abc\u2069",
    "equals": "=1+1",
    "command": '=cmd|"/c calc"!A1',
    "plus": "+1",
    "minus": "-1",
    "at": "@SUM(A1)",
    "rich markup": "[bold red]x[/]",
    "unclosed markup": "[/x]",
    "mathematics": r"$\frac$ $",
    "template": "{{ 7*7 }} {% x %}",
    "format": "%s %n {0}",
    "shell": "$(touch x); `touch y`",
    "path": "%2e%2e%2fx",
    "long": "x" * 200,
    "right to left": "\u05e9\u05dc\u05d5\u05dd",
    "arabic": "\u0645\u0631\u062d\u0628\u0627",
    "emoji": "\U0001f469\u200d\U0001f52c",
    "null-like": "None",
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Anything but a newline and a tab."""


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def name(request):
    return request.param


def test_the_printable_form(name):
    shown = printable(name)
    assert not CONTROL.search(shown)
    assert "\n" not in shown
    assert "\t" not in shown
    if not CONTROL.search(name) and not re.search(r"[\n\t]", name):
        assert shown == name
    assert printable(shown) == shown


def test_half_a_character():
    assert printable("\ud800a") == "\\ud800a"
    assert printable("a\udcff") == "a\\xff"


def test_the_terminal(name, capsys):
    terminal.note(f"class {name}")
    assert not CONTROL.search(capsys.readouterr().err)
    table = Table()
    table.add_column("name")
    table.add_row(escape(name))
    Terminal().print_table(table)
    assert not CONTROL.search(capsys.readouterr().out)


def test_a_class_folder(name, tmp_path, monkeypatch):
    if "/" in name:
        pytest.skip("no name of a file")
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    for folder in (name, "other"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / folder / f"{number}.png")
    (tmp_path / "images" / name / f"{name[:50]}.txt").write_text("no image")

    def call(*words):
        return CliRunner().invoke(main, ["data", *map(str, words)])

    done = call("import", tmp_path / "images", "--name", "mine", "--format", "folder")
    assert done.exit_code == 0, done.output
    with open_dataset(tmp_path / "data" / "mine.h5") as data:
        assert set(data.classes) == {printable(name), "other"}
    for verb in ("info", "validate", "list"):
        shown = call(verb, *(["mine"] if verb != "list" else []))
        assert shown.exit_code == 0, shown.output
        assert not CONTROL.search(shown.output)
    assert not CONTROL.search(done.output)


def test_a_class_in_a_file_of_somebody_else(name, small_dataset, tmp_path):
    path = write_dataset(tmp_path / "x.h5", small_dataset())
    with h5py.File(path, "a") as file:
        classes = [str(each) for each in file.attrs["classes"]]
        file.attrs.create("classes", [name, *classes[1:]], dtype=h5py.string_dtype("utf-8"))
        file.attrs["license"] = name
        file.attrs["split"] = name
    if printable(name) != name:
        with pytest.raises(BenchError, match="holds control characters") as caught:
            open_dataset(path)
        assert not CONTROL.search(str(caught.value))
    result = CliRunner().invoke(main, ["data", "info", str(path)])
    assert result.exit_code == (2 if printable(name) != name else 0)
    assert not CONTROL.search(result.output)


def test_a_spreadsheet_reads_no_formula(name):
    lines = to_csv([{"dataset": name, "error": name, "seed": -1}])
    back = pd.read_csv(io.StringIO(lines), keep_default_na=False)
    for column in ("dataset", "error"):
        assert not back[column][0].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert back[column][0].lstrip("'") == printable(name).lstrip("'")
    assert back["seed"][0] == -1


@pytest.mark.parametrize(
    "name", ["=x", "../x", "a/b", "a\nb", "\x1b[2J", "-x", "", "x" * 101, "\u05e9"]
)
def test_what_cannot_name_a_data_set(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 2, 2), np.uint8), labels=np.arange(4) % 2)
    result = CliRunner().invoke(main, ["data", "import", str(tmp_path / "a.npz"), "--name", name])
    assert result.exit_code == 2
    assert not CONTROL.search(result.output)
    assert not list(tmp_path.rglob("*.h5"))

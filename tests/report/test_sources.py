"""Counting lines of code, and finding the files of a family."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.backends.registry import BACKENDS
from harness.report.sources import (
    BACKENDS_FOLDER,
    additions,
    julia_lines,
    parts,
    python_lines,
)

PYTHON = '''"""Module,
two lines."""

import os  # counts

# does not


@property
def f(
    a,
):
    """Docstring."""
    text = """
    counts

    the blank line above does not
    """
    return (
        a
        + text
    )


class C:
    x: int = 0
    """About x."""

    def g(self): "docstring beside code"
'''


def test_python_lines() -> None:
    # import; @property, def f(, a, ):; four of the text; four of the return; class, x, def g
    assert python_lines(PYTHON) == 1 + 4 + 4 + 4 + 3
    assert python_lines("") == 0
    assert python_lines("# only\n\n'''and'''\n") == 0


def test_julia_lines() -> None:
    documented = '"""\nDoc of f.\n"""\n'
    text = documented + "function f(x)  # counts\n\n    # no\n    #= no\n    no =#\n    x\nend\n"
    assert julia_lines(text) == 3
    assert julia_lines('"""one line"""\nf(x) = x\n') == 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "torch/models/lenet5.py": "a = 1\n",
        "torch/train.py": "b = 1\nc = 2\n",
        "knet/models/lenet5.jl": "a = 1\n",
        "knet/train.jl": "b = 1\n",
        "knet/train.py": "call()\n",
        "odd/data.py": "def (:\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_parts_are_those_with_files(root: Path) -> None:
    found = parts(("torch", "knet", "absent"), {"lenet5": "LeNet-5"}, root)
    assert [part.title for part in found] == ["model: LeNet-5", "training"]
    training = found[1]
    assert training.lines("torch") == 2
    assert training.lines("knet") == 2
    assert training.lines("absent") is None
    assert [source.language.fence for source in training.sources["knet"]] == ["python", "julia"]


def test_a_file_that_cannot_be_parsed_is_shown_uncounted(root: Path) -> None:
    (part,) = parts(("odd",), {}, root)
    assert part.lines("odd") is None
    assert part.sources["odd"][0].text == "def (:\n"


def test_what_only_a_variant_uses_is_shown_apart() -> None:
    found = additions(BACKENDS.values(), BACKENDS_FOLDER)
    shown = {file.path for part in found for files in part.sources.values() for file in files}
    assert shown == {
        "torch/models/lenet5_compiled.py",
        "torch/pooling.py",
        "jax/models/lenet5_s2d.py",
    }

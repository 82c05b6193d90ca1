"""Counting lines of code, in samples and in the Julia package itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.backends.julia import installation
from harness.backends.julia.packages import julia_dir
from harness.backends.languages import LANGUAGES, julia_lines, python_lines
from harness.plugins import backends

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
    assert len(python_lines(PYTHON)) == 1 + 4 + 4 + 4 + 3
    assert python_lines("") == set()
    assert python_lines("# only\n\n'''and'''\n") == set()


def test_what_cannot_be_read_is_not_counted() -> None:
    assert LANGUAGES[".py"].count("def (:\n") is None
    assert LANGUAGES[".jl"].count('f("never ends\n') is None
    assert LANGUAGES[".jl"].count("#= never ends #= \n =#\n") is None


JULIA = r'''
"Documents the module."
module M  # +

#= no
   #= nested =# no
=#

# no
using A: a, b!  # +

"In one line, with \"quotes\", `code` and # no comment."
struct S  # +
    "About the field."
    x  # +
    y' # +
end  # +

"""
    f(x)

In several lines.
"""
f(x) = x'  # +

text = """  # +
"counts, as part of the text"  # +

# counts too: the blank line above does not  # +
"""  # +

function g(x; c = '"', d = '\'', e = '#')  # +
    "no documentation: nothing below is described by it" *  # +
    "nor this: it goes on from above"  # +
    h(  # +
        "in brackets it is an argument",  # +
        "$(x["key"] * string(")")) # inside a string",  # +
        r"a regular expression \" # ",  # +
        x[1]', "after a transposition",  # +
    )  # +
    "the value of the function"  # +
end  # +
end  # +
'''


def test_julia_lines() -> None:
    marked = {n for n, line in enumerate(JULIA.split("\n"), start=1) if line.endswith("# +")}
    assert julia_lines(JULIA) == marked
    assert julia_lines("") == set()
    assert julia_lines('"Doc."\nf(x) = x\n') == {2}
    assert julia_lines('f() = "text"\ng() = begin; "text"\nend\n') == {1, 2, 3}


PACKAGE = sorted(
    path
    for folder in ("src", "knet/src", "reference/src", "reference/test", "test")
    for path in (julia_dir() / folder).rglob("*.jl")
)

COMPARE = r"""
# Whether two files have the same expressions, line numbers and documentation apart.
bare(x) = x
bare(::LineNumberNode) = nothing
function bare(e::Expr)
    e.head === :macrocall && occursin("@doc", string(e.args[1])) && return bare(e.args[4])
    return Expr(e.head, filter(a -> a !== nothing, map(bare, e.args))...)
end
parsed(path) = Meta.parse("begin\n" * read(path, String) * "\nend")
for (whole, kept) in Iterators.partition(ARGS, 2)
    bare(parsed(whole)) == bare(parsed(kept)) || println("differs: ", whole)
    occursin("@doc", string(parsed(kept))) && println("documentation is left: ", whole)
end
println("compared")
"""


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_what_is_counted_of_the_package_looks_like_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    held = julia_lines(text)
    assert held
    for number, line in enumerate(text.split("\n"), start=1):
        shown = line.strip()
        if not shown or shown.startswith("#"):
            assert number not in held
        if shown.startswith(("function ", "struct ", "module ", "const ", "include(", "return ")):
            assert number in held


def test_julia_reads_the_same_from_the_counted_lines_alone(tmp_path: Path) -> None:
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    script = tmp_path / "compare.jl"
    script.write_text(COMPARE)
    arguments: list[str] = []
    for number, path in enumerate(PACKAGE):
        text = path.read_text(encoding="utf-8")
        held = julia_lines(text)
        kept = tmp_path / f"{number}.jl"
        kept.write_text(
            "\n".join(line for n, line in enumerate(text.split("\n"), start=1) if n in held)
        )
        arguments += [str(path), str(kept)]
    found = installation.find_julia()
    done = subprocess.run(
        [str(found.executable), "--startup-file=no", "-O0", str(script), *arguments],
        env=os.environ | installation.environment(found, 1),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "compared\n", done.stdout + done.stderr

"""``bench setup``: what is printed, what is run, and the exit code."""

from __future__ import annotations

import pytest


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """No Julia, and servers that do not answer."""
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return {
        "PATH": str(tmp_path),
        "PYTHON_JULIAPKG_PROJECT": str(tmp_path / "none"),
        "JULIA_PKG_SERVER": "http://127.0.0.1:9",
        "COLUMNS": "60",
    }


@pytest.fixture
def julia(tmp_path):
    """A Julia that leaves a file ``compiled`` when it is asked to import something."""
    lines = ["version=1.9.4", "bindir=/b", "libjulia=/l", "system_image=/s", "llvm=14"]
    told = "\\n".join([*lines, "project=", "exceptions=true"])
    (tmp_path / "julia").write_text(
        f"#!/bin/sh\ncase \"$*\" in\n*import*) : > '{tmp_path}/compiled' ;;\n"
        f"*) printf '{told}\\n' ;;\nesac\n"
    )
    (tmp_path / "julia").chmod(0o755)
    return tmp_path / "julia"


def test_it_says_what_it_does_and_does_it(bench, settings, julia):
    dry = bench("setup", "julia", "--dry-run", **settings)
    assert dry.returncode == 0
    ready, compile_ = dry.stdout.splitlines()
    assert ready == f"ready: julia 1.9.4; {julia} (PATH)"
    assert compile_.startswith("would compile the harness's Julia code in /")
    assert not julia.with_name("compiled").exists()
    wet = bench("setup", "julia", **settings)
    assert wet.returncode == 0
    assert wet.stdout.splitlines() == [ready, compile_.removeprefix("would ")]
    assert julia.with_name("compiled").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("julia", "error: cannot install Julia here"),
        ("knet", "error: cannot install Knet.jl here"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_no_way_is_one_line(bench, settings, row, message, flags):
    result = bench("setup", row, *flags, **settings)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_set_up(bench):
    result = bench("setup", "torch")
    assert result.returncode == 2
    assert "'julia', 'knet'" in result.stderr

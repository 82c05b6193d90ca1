"""``bench setup``: what is printed, what is run, and the exit code."""

from __future__ import annotations

import pytest

from harness.plugins import backends


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


def test_what_it_would_do(bench, settings, julia):
    dry = bench("setup", "julia", "--dry-run", **settings)
    assert dry.returncode == 0
    found, load = dry.stdout.splitlines()
    assert found == f"found julia 1.9.4; {julia} (PATH)"
    assert load == "would compile the harness's Julia code and load it as a worker does"
    assert not julia.with_name("compiled").exists()


def test_a_julia_that_compiles_and_does_not_load_is_not_ready(bench, settings, julia, tmp_path):
    """This one answers like a Julia, and its library is no library; nothing can be installed."""
    result = bench("setup", "julia", XDG_CACHE_HOME=str(tmp_path / "cache"), **settings)
    assert result.returncode == 1
    assert julia.with_name("compiled").exists()
    assert "ready" not in result.stdout
    warning, error = result.stderr.splitlines()
    assert warning.startswith("warning: is installed but does not load: OSError: /l: ")
    assert warning.endswith("; installing it again")
    assert error.startswith("error: cannot install Julia here")


def test_a_real_julia_is_ready_after_it_was_loaded(bench, tmp_path):
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    result = bench("setup", "julia", XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "ready: julia"
    assert (tmp_path / "pipeline-bench" / "logs").is_dir()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("julia", "error: cannot install Julia here"),
        ("knet", "error: cannot install Knet.jl here"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_no_way_is_one_line(bench, settings, row, message, flags, tmp_path):
    result = bench("setup", row, *flags, XDG_CACHE_HOME=str(tmp_path / "cache"), **settings)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_set_up(bench):
    result = bench("setup", "torch")
    assert result.returncode == 2
    assert "there is nothing to set up for torch: pip install" in result.stderr

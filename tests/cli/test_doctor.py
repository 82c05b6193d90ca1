"""``bench doctor``: what a person reads about each framework, and the exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import plugins
from harness.cli import main


@pytest.fixture
def julia(tmp_path):
    """A folder for PATH with a Julia in it that has no packages; its path is long."""
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    lines = ["version=1.9.4", "bindir=/b", "libjulia=/l", "system_image=/s", "llvm=14"]
    told = "\\n".join([*lines, "project=", "exceptions=true"])
    (folder / "julia").write_text(f"#!/bin/sh\nprintf '{told}\\n'\n")
    (folder / "julia").chmod(0o755)
    return folder


@pytest.fixture
def doctor(bench, tmp_path, monkeypatch):
    """``bench doctor`` where juliapkg knows nothing."""
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_PROJECT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments, path=tmp_path):
        settings = {
            "PATH": str(path),
            "PYTHON_JULIAPKG_PROJECT": str(tmp_path / "none"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        return bench("doctor", *arguments, **settings, COLUMNS="60")

    return run


@pytest.fixture
def examine(planted):
    """``bench doctor`` in this process, among the planted backends."""
    return lambda *arguments: CliRunner().invoke(main, ["doctor", *arguments])


def test_ready_or_not_where_and_how_to_fix_it(doctor, julia):
    result = doctor("--frameworks", "knet,julia", path=julia)
    assert result.returncode == 1
    heading, knet, plain = result.stdout.splitlines()
    assert " ".join(heading.split()) == "framework ready versions where why not to fix"
    assert knet.split()[:2] == ["knet", "no"]
    assert "has no Knet.jl" in knet
    assert knet.rstrip().endswith("bench setup knet")
    # It answers, and a worker could not load it.
    assert plain.split()[:4] == ["julia-reference", "no", "julia", "1.9.4"]
    assert "is installed but does not load: OSError: /l: " in plain
    assert f"{julia}/julia (PATH)" in plain  # whole, however narrow the terminal would be


def test_exit_code_is_about_those_that_were_named(doctor):
    assert doctor("--frameworks", "torch", path=Path(os.defpath.split(":")[0])).returncode == 0
    result = doctor("--frameworks", "julia")
    assert result.returncode == 1
    assert "found no Julia on this machine" in result.stdout
    assert "bench setup julia" in result.stdout


def test_every_framework_without_names(doctor):
    result = doctor()
    names = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert names == list(plugins.backends())
    assert {"torch", "torch-compile", "jax", "jax-s2d", "knet", "julia-reference"} <= set(names)


def test_without_names_one_that_is_ready_is_enough(examine, planted, monkeypatch):
    assert any(spec.missing_requirement() for spec in planted.values())
    assert examine().exit_code == 0
    for name in [name for name in planted if name != "absent"]:
        monkeypatch.delitem(planted, name)
    result = examine()
    assert result.exit_code == 1
    assert "not installed: no_such_package_anywhere" in result.output


@pytest.mark.parametrize("names", ["jlia", "julia,jlia"])
def test_an_unknown_name_is_one_line(doctor, names):
    result = doctor("--frameworks", names)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown framework 'jlia'; did you mean 'julia'?")
    assert result.stderr.count("\n") == 1


def test_help_asks_nobody(python):
    code = (
        "import sys, harness.cli.doctor, harness.cli.setup; heavy = {'rich', 'numpy', 'requests', "
        "'juliapkg', 'harness.backends.julia'} & set(sys.modules); assert not heavy, heavy"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr

"""The Julia packages' own tests: derivatives against finite differences, values, training."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.backends.julia import installation
from harness.backends.julia.packages import REFERENCE, SHARED, folder, load_path
from harness.plugins import find_backend

Julia = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def julia() -> Julia:
    """Runs a script with two threads, the packages of the harness on the load path; compiling takes
    longer than these small computations, so it optimises little."""
    if (reason := find_backend("julia-reference").missing()) is not None:
        pytest.skip(f"julia {reason}")
    found = installation.find_julia()
    settings = installation.environment(found, 2) | {
        "JULIA_LOAD_PATH": load_path(folder(SHARED), folder(REFERENCE))
    }

    def julia(script: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(found.executable), "--optimize=1", "--startup-file=no", str(script)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return julia


@pytest.mark.parametrize(
    ("package", "last"),
    [(SHARED, "calls by address"), (REFERENCE, "a network in a file of its own")],
)
def test_runtests(julia: Julia, package: str, last: str) -> None:
    done = julia(folder(package) / "test" / "runtests.jl")
    assert done.returncode == 0, done.stdout + done.stderr
    assert last in done.stdout


def test_a_failing_test_fails_the_run(julia: Julia, tmp_path: Path) -> None:
    script = tmp_path / "runtests.jl"
    script.write_text('using PipelineBench, Test\n@testset "wrong" begin @test 1 == 2 end\n')
    assert julia(script).returncode != 0

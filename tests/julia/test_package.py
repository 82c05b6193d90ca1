"""The Julia package's own tests: derivatives against finite differences, values, training."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.backends.julia import installation
from harness.paths import julia_dir
from harness.plugins import backends


@pytest.fixture(scope="module")
def julia() -> Callable[..., subprocess.CompletedProcess[str]]:
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    found = installation.find_julia()
    settings = installation.environment(found, 2)

    def julia(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(found.executable), "--startup-file=no", f"--project={julia_dir()}", *arguments],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return julia


def test_runtests(julia: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = julia(str(julia_dir() / "test" / "runtests.jl"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "batch normalisation over all threads" in done.stdout


def test_a_failing_test_fails_the_run(
    julia: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    script = tmp_path / "runtests.jl"
    script.write_text('using PipelineBench, Test\n@testset "wrong" begin @test 1 == 2 end\n')
    assert julia(str(script)).returncode != 0

"""The wheel: what it says of itself, and that it runs where there is no checkout."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel, beside the dependencies of this one.

    These come by a path file, whose folders are searched for modules but not for path files: so
    the checkout that this environment is linked to is not found.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    paths = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return folder / "bin" / "python"


@pytest.fixture
def bench(installed, tmp_path, clean_environment):
    """Runs ``bench`` of the wheel, in an empty folder."""

    def run(*words, code=0):
        environment = {k: v for k, v in clean_environment.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [installed, "-m", "harness", *map(str, words)],
            cwd=tmp_path,
            env=environment | {"BENCH_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        assert str(ROOT) not in done.stdout + done.stderr
        return done.stdout

    return run


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
        names = set(archive.namelist())
    for field in ("Summary", "Author", "License-Expression", "License-File", "Keywords",
                  "Requires-Python", "Classifier", "Description"):  # fmt: skip
        assert metadata[field] or metadata.get_payload(), field
    assert metadata["Description-Content-Type"] == "text/markdown"
    # Of frameworks, only releases up to the last that was run.
    required = metadata.get_all("Requires-Dist")
    for framework in ("torch", "jax", "flax", "optax"):
        (line,) = (line for line in required if re.match(rf"{framework}\b", line))
        assert "<" in line
    (line,) = (line for line in required if line.startswith("juliacall"))
    assert "==" in line
    assert "harness/py.typed" in names


def test_what_messages_and_documentation_mention_is_in_the_wheel(wheel):
    """Files that commands of the documentation are given, and pages that messages refer to."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    documented = {
        found
        for path in pages
        for found in re.findall(
            r"--config ((?:benchmarks|docs)/\S+\.toml)", path.read_text("utf-8")
        )
    }
    mentioned = {
        f"docs/{found}"
        for path in (ROOT / "harness").rglob("*.py")
        for found in re.findall(r"""page\(['"](\S+?)['"]\)""", path.read_text("utf-8"))
    }
    assert len(documented) >= 2
    assert len(mentioned) >= 2
    for name in documented | mentioned:
        assert f"harness/_{name}" in names


def test_it_runs_without_a_checkout(bench, installed, tmp_path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version in bench("--version")
    where = bench_location(installed, tmp_path)
    assert str(installed.parents[1]) in where
    for what in ("frameworks", "models", "datasets"):
        assert bench("list", what).strip()
    assert "densenet121" in bench("run", "--config", "benchmarks/xrays.toml", "--frameworks",
                                  "torch", "--dry-run")  # fmt: skip
    bench("run", "--frameworks", "torch", "--datasets", "digits", "--epochs", 1, "--no-warm-start",
          "--no-parity", "--threads", 1, "--out", "run")  # fmt: skip
    assert "LeNet-5" in (tmp_path / "run" / "report.md").read_text("utf-8")


def bench_location(python, folder):
    code = "import harness; print(harness.__file__)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

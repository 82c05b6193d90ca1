"""The packages of ``examples/``, installed from their folders, work like what is built in."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = ("bench-keras", "bench-allconv")

NIGHTLY = os.environ.get("BENCH_NIGHTLY") == "1"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: dict[str, str], ready
) -> Run:
    """Runs ``python -m ARGUMENTS`` in a virtual environment with the examples installed.

    It sees what is installed here; pip asks a package index only for what is missing.
    """
    ready("torch")
    ready("jax")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    executable = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "here.pth").write_text("\n".join(path for path in sys.path if Path(path).is_dir()))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [executable, "-m", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=folder,
            env=clean_environment,
        )

    sources = [EXAMPLES / name for name in PACKAGES]
    installed = run("pip", "install", "--no-build-isolation", *sources)
    if "keras" in installed.stderr and "No matching distribution" in installed.stderr:
        pytest.skip("Keras is not installed, and no package index has it here")
    assert installed.returncode == 0, installed.stderr
    return run


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in CIFAR-10's binary version."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("data_batch_1.bin", 200), ("test_batch.bin", 40)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        pixels = rng.integers(0, 156, (count, 3072), dtype=np.uint8) + 10 * labels[:, None]
        np.concatenate([labels[:, None], pixels], axis=1).tofile(folder / name)
    return folder


def test_a_run_with_both_ends_in_a_report(python: Run, cifar: Path, tmp_path: Path) -> None:
    dataset, out = tmp_path / "small-cifar.h5", tmp_path / "run"
    imported = python("harness", "data", "import", cifar, "--name", "cifar", "--out", dataset)
    assert imported.returncode == 0, imported.stderr
    options = ("--epochs", 1, "--batch-size", 16, "--threads", 1, "--no-warm-start", "--no-parity")
    frameworks, models = "torch,keras", "lenet5,allconv"
    run = python(
        "harness", "run", "--frameworks", frameworks, "--models", models,
        "--datasets", dataset, *options, "--out", out,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = (out / "report.md").read_text("utf-8")
    assert "Keras (JAX)" in report
    assert "All-convolutional net (four convolutions)" in report
    assert "has no network for the model allconv" in report  # what Keras was not asked to train
    # Its code stands beside the others'.
    assert "class KerasBackend(Backend)" in (out / "code.md").read_text("utf-8")


@pytest.mark.skipif(not NIGHTLY, reason="nightly")
def test_the_backend_has_a_parity_certificate(python: Run) -> None:
    found = python(
        "harness", "parity", "--frameworks", "keras", "--models", "lenet5",
        "--dataset", "digits", "--steps", 10,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("package", "selection"),
    # Of the two networks in Keras one, the other one has its certificate above; both nightly.
    [("bench-keras", "lenet5-relu or refused" if NIGHTLY else "refused"), ("bench-allconv", "")],
)
def test_its_own_tests_pass(python: Run, package: str, selection: str) -> None:
    tests = EXAMPLES / package / "tests"
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", tests, "-k", selection)
    found = python("pytest", *options, tests)
    assert found.returncode == 0, found.stdout[-3000:]


def test_the_kit_runs_from_the_command_line(python: Run, cifar: Path) -> None:
    plugin = ("-p", "harness.testing.plugin")
    options = ("--model", "allconv", "--importer", "cifar10", "--sample", cifar)
    # The package's own tests, above, compare its network with the reference.
    chosen = ("-k", "not agrees") if not NIGHTLY else ()
    found = python("pytest", "-q", *plugin, "--pyargs", "harness.testing", *options, *chosen)
    assert found.returncode == 0, found.stdout[-3000:]

"""The options of the kit, as a pytest plug-in: ``pytest --pyargs`` reads no conftest.py in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BenchError

FOLDER = Path(__file__).parent
KINDS = ("backend", "model", "importer")

# Before the kit is imported, so that its assertions show the values that differ.
pytest.register_assert_rewrite(*(f"harness.testing.{kind}" for kind in KINDS))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pipeline-bench", "conformance kit of pipeline-bench (harness.testing)")
    for kind in KINDS:
        group.addoption(
            f"--{kind}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"{kind} to test; may be given several times",
        )
    group.addoption("--sample", type=Path, help="data set in the format of --importer")


def pytest_configure(config: pytest.Config) -> None:
    if not any(str(argument).startswith("harness.testing") for argument in config.args):
        return
    # Imported here: whoever runs pytest for something else does not wait for the harness.
    from harness.data import importers
    from harness.plugins import find_backend, find_model

    if not any(config.getoption(kind) for kind in KINDS):
        raise pytest.UsageError("give --backend NAME, --model NAME or --importer NAME")
    try:
        for name in config.getoption("backend"):
            if (reason := find_backend(name).missing()) is not None:
                raise pytest.UsageError(f"framework '{name}' {reason}")
        for name in config.getoption("model"):
            find_model(name)
        for name in config.getoption("importer"):
            importers.get(name)
    except BenchError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the tests of the kinds that nobody asked for."""
    if collection_path.parent != FOLDER or not collection_path.name.startswith("test_"):
        return None
    asked = {kind for kind in KINDS if config.getoption(kind)}
    if "backend" in asked:
        asked.discard("model")  # then --model says which models the backend is tested with
    return collection_path.stem.removeprefix("test_") not in asked

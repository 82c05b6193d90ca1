"""Which environment variables reach a worker."""

from __future__ import annotations

import pytest

from harness.measure.variables import is_removed, recorded


@pytest.mark.parametrize(
    ("name", "removed"),
    [("TF_XLA_FLAGS", True), ("TF_CPP_MIN_LOG_LEVEL", True), ("TF_CLI_CONFIG_FILE", False)],
)
def test_tensorflow_is_not_terraform(name: str, removed: bool) -> None:
    assert is_removed(name) == removed
    assert bool(recorded({name: "x"})["variables_removed"]) == removed
    assert not recorded({name: "x"})["variables"]

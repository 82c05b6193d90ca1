"""Which environment variables reach a worker."""

from __future__ import annotations

import pytest

from harness.variables import for_worker, recorded


@pytest.mark.parametrize(
    ("name", "removed"),
    [("TF_XLA_FLAGS", True), ("TF_CPP_MIN_LOG_LEVEL", True), ("TF_CLI_CONFIG_FILE", False)],
)
def test_tensorflow_is_not_terraform(name: str, removed: bool) -> None:
    assert (name not in for_worker({name: "x"})) == removed
    assert bool(recorded({name: "x"})["variables_removed"]) == removed
    assert not recorded({name: "x"})["variables"]

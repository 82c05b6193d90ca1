"""The backend fulfils the contract; run with ``pytest`` once the package is installed."""

from __future__ import annotations

from harness.plugins import find_backend, find_model
from harness.testing.backend import BackendConformance


class TestKeras(BackendConformance):
    backend = "keras"
    models = ("lenet5", "lenet5-relu")


def test_networks_with_batch_normalization_are_refused() -> None:
    reason = find_backend("keras").unsupported(find_model("xraynet"), "float32")
    assert reason == "has no network for the model xraynet"

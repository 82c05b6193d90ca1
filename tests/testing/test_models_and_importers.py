"""The conformance kit on built-in models and importers.

ResNet-18 and DenseNet-121 take minutes; tests/parity and tests/models have them.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from harness.testing.importer import ImporterConformance
from harness.testing.model import ModelConformance


class TestLeNet5(ModelConformance):
    model = "lenet5"


class TestXrayNet(ModelConformance):
    model = "xraynet"

    @pytest.mark.skipif(
        os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly: the backends' tests have it too"
    )
    def test_network_agrees_with_the_reference(self, name: str, backend: str) -> None:
        super().test_network_agrees_with_the_reference(name, backend)


class TestIdx(ImporterConformance):
    importer = "idx"

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        folder = tmp_path / "idx"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for split, count in (("train", 60), ("t10k", 20)):
            images = rng.integers(0, 256, (count, 14, 12), dtype=np.uint8)
            for kind, values in (("images", images), ("labels", np.arange(count) % 3)):
                header = bytes([0, 0, 8, values.ndim])
                header += b"".join(side.to_bytes(4, "big") for side in values.shape)
                path = folder / f"{split}-{kind}-idx{values.ndim}-ubyte.gz"
                path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))
        return folder


class TestNpz(ImporterConformance):
    importer = "npz"

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        arrays = {}
        for split, count in (("train", 60), ("test", 20)):
            arrays[f"{split}_images"] = rng.integers(0, 256, (count, 14, 12), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8) % 3
        np.savez(tmp_path / "sample.npz", **arrays)
        return tmp_path / "sample.npz"

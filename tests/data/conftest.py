"""Small data sets, and where the real ones lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data.schema import ImageDataset, Split

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "datasets"


@pytest.fixture
def make_dataset() -> Callable[..., ImageDataset]:
    """A valid data set of random pixels; keywords replace fields of ImageDataset."""

    def make(task: str = "multiclass", sizes=(12, 4, 5), shape=(1, 6, 7), **fields) -> ImageDataset:
        rng = np.random.default_rng(5)
        splits = {}
        for name, size in zip(("train", "val", "test"), sizes, strict=True):
            images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
            if task == "multiclass":
                labels = (np.arange(size) % 3).astype(np.uint8)
            else:
                labels = rng.integers(0, 2, (size, 3), dtype=np.uint8)
            splits[name] = Split(images, labels)
        values = {
            "name": "small",
            "task": task,
            "classes": ("ant", "bee", "cat"),
            "splits": splits,
            "source": [{"file": "x.npz", "sha256": "0" * 64}],
            "split_rule": "made up",
            "license": "CC0",
        }
        return ImageDataset(**(values | fields))

    return make


@pytest.fixture
def mnist10k() -> Path:
    folder = SHARED / "mnist10k"
    if not folder.is_dir():
        pytest.skip("the real MNIST files (shared/datasets/mnist10k) are not here")
    return folder


@pytest.fixture
def nih1000() -> Path:
    folder = SHARED / "nih1000"
    if not folder.is_dir():
        pytest.skip("the real NIH X-rays (shared/datasets/nih1000) are not here")
    return folder

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from harness.data.importers import digits
from harness.data.importers.options import ImportOptions
from harness.data.importing import assemble


def test_pixels_are_replicated_and_scaled():
    raw = digits.load(Path(), ImportOptions())
    images = raw.splits["train"].images
    original = load_digits()
    assert images.shape == (1797, 1, 28, 28)
    border = np.ones((28, 28), bool)
    border[2:26, 2:26] = False
    assert not images[:, 0, border].any()
    for row in range(3):
        for column in range(3):
            np.testing.assert_array_equal(
                images[:, 0, 2 + row : 26 : 3, 2 + column : 26 : 3],
                np.floor(original.images * 255 / 16),
            )
    assert images.max() == 255
    np.testing.assert_array_equal(raw.splits["train"].labels, original.target)


def test_split_is_70_10_20():
    dataset = assemble(digits.load(Path(), ImportOptions()), "digits")
    sizes = {name: len(split) for name, split in dataset.splits.items()}
    assert sizes == {"train": 1259, "val": 179, "test": 359}
    assert "PCG64 seed 0" in dataset.split_rule
    assert "v*255//16" in dataset.source[0]["note"]

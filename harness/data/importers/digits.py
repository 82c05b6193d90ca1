"""The 1,797 handwritten digits that scikit-learn carries (8x8): real data without a network.

Brought to 28x28 with integers alone, so that every machine makes the same file: grey value v (0
to 16) becomes v*255//16, each pixel becomes 3x3 equal pixels, and a border of 2 zeros goes round.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.data.importers.base import RawDataset
from harness.data.importers.options import ImportOptions
from harness.data.schema import Split

NAME = "digits"
DESCRIPTION = "scikit-learn's own 8x8 digits (needs no file)"
USES: frozenset[str] = frozenset()
EMBEDDED = True
_TRANSFORM = "8x8, v*255//16, each pixel repeated 3x3, border of 2 zero pixels: 28x28"


def recognises(path: Path) -> bool:
    """Never: these digits lie inside scikit-learn, not at a path."""
    return False


def load(path: Path, options: ImportOptions) -> RawDataset:
    """The digits as one split; ``path`` and ``options`` are not used."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    grey = bunch.images.astype(np.uint16)
    images = np.pad(
        (grey * 255 // 16).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2),
        ((0, 0), (2, 2), (2, 2)),
    )
    labels = bunch.target.astype(np.uint8)
    # scikit-learn may repack its file, so the checksum is of the numbers in it.
    digest = hashlib.sha256(grey.astype(np.uint8).tobytes() + labels.tobytes()).hexdigest()
    return RawDataset(
        task="multiclass",
        classes=tuple(str(i) for i in range(10)),
        splits={"train": Split(images[:, np.newaxis], labels)},
        source=[
            {
                "file": "sklearn.datasets.load_digits (images, then target, as uint8)",
                "sha256": digest,
                "note": _TRANSFORM,
            }
        ],
    )

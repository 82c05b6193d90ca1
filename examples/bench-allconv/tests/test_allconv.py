"""The model and the importer fulfil their contracts; run with ``pytest`` once installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_allconv import cifar10

from harness.data.importing import import_path
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.testing.importer import ImporterConformance
from harness.testing.model import ModelConformance

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_sample(folder: Path, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two training batches and a test batch in CIFAR-10's binary version.

    Returns all images (N, 3, 32, 32) and labels (N,), in the order of the files.
    """
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(10, dtype=np.uint8), images // 10)
    pixels = rng.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([labels[:, None], pixels.reshape(images, -1)], axis=1)
    names = ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")
    for name, part in zip(names, np.split(records, 3), strict=True):
        part.tofile(folder / name)
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n", encoding="utf-8")
    return pixels, labels


class TestAllConv(ModelConformance):
    model = "allconv"


class TestCifar10(ImporterConformance):
    importer = "cifar10"

    @pytest.fixture
    def sample(self, tmp_path: Path) -> Path:
        folder = tmp_path / "cifar-10-batches-bin"
        folder.mkdir()
        write_sample(folder)
        return folder


def test_pixels_and_labels_are_those_of_the_files(tmp_path: Path) -> None:
    pixels, labels = write_sample(tmp_path)
    with open_dataset(import_path(tmp_path, "small", tmp_path / "small.h5")) as data:
        assert data.classes == CLASSES
        assert data.sizes["train"] + data.sizes["val"] == 40
        np.testing.assert_array_equal(data.split("test").all_images(), pixels[40:])
        np.testing.assert_array_equal(data.split("test").labels, labels[40:])


def test_a_file_that_ends_within_a_record_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path)
    batch = tmp_path / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(BenchError, match=r"data_batch_2\.bin: 61459 bytes are no whole number"):
        import_path(tmp_path, "small", tmp_path / "small.h5")


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path)
    (tmp_path / "batches.meta.txt").write_text("airplane\n", encoding="utf-8")
    with pytest.raises(BenchError, match="there is a label 9, but 1 classes are named"):
        import_path(tmp_path, "small", tmp_path / "small.h5")


def test_it_is_recognised_by_its_names(tmp_path: Path) -> None:
    assert not cifar10.recognises(tmp_path)
    write_sample(tmp_path)
    assert cifar10.recognises(tmp_path)

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from harness.data import sources
from harness.data.sources import idx
from harness.data.sources._base import ImportOptions
from harness.errors import BenchError

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([3, 0, 2, 1], dtype=np.uint8)


def packed(values, magic=None) -> bytes:
    magic = magic or 0x0800 + values.ndim
    return struct.pack(f">I{values.ndim}I", magic, *values.shape) + values.tobytes()


def fill(folder, prefix="", test="t10k", suffix=""):
    folder.mkdir(exist_ok=True)
    pack = gzip.compress if suffix else bytes
    for stem in ("train", test):
        for kind, values in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
            (folder / f"{prefix}{stem}-{kind}-ubyte{suffix}").write_bytes(pack(packed(values)))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("prefix", "test"), [("", "t10k"), ("emnist-letters-", "test")])
def test_pairs_are_found_and_read(tmp_path, prefix, test, suffix):
    folder = fill(tmp_path / "a", prefix, test, suffix)
    assert sources.recognise(folder).NAME == "idx"
    raw = idx.load(folder, ImportOptions())
    assert raw.task == "multiclass"
    assert raw.classes == ("0", "1", "2", "3")
    assert set(raw.splits) == {"train", "test"}
    np.testing.assert_array_equal(raw.splits["train"].images, IMAGES[:, np.newaxis])
    np.testing.assert_array_equal(raw.splits["test"].labels, LABELS)


def test_the_recorded_source_does_not_depend_on_the_packing(tmp_path):
    plain = idx.load(fill(tmp_path / "a"), ImportOptions())
    zipped = idx.load(fill(tmp_path / "b", suffix=".gz"), ImportOptions())
    assert plain.source == zipped.source
    assert len(plain.source) == 4


def test_train_alone_is_enough(tmp_path):
    folder = fill(tmp_path)
    for file in folder.glob("t10k*"):
        file.unlink()
    assert set(idx.load(folder, ImportOptions()).splits) == {"train"}


def test_several_sets_in_a_folder(tmp_path):
    fill(tmp_path, "a-")
    fill(tmp_path, "b-")
    with pytest.raises(BenchError, match="several sets \\('a-', 'b-'\\)"):
        idx.load(tmp_path, ImportOptions())
    raw = idx.load(tmp_path / "b-train-images-idx3-ubyte", ImportOptions())
    assert raw.source[0]["file"] == "b-train-images-idx3-ubyte"


def test_class_names(tmp_path):
    fill(tmp_path)
    names = ("a", "b", "c", "d", "e")
    assert idx.load(tmp_path, ImportOptions(classes=names)).classes == names
    with pytest.raises(BenchError, match="2 class names were given, but there is a label 3"):
        idx.load(tmp_path, ImportOptions(classes=("a", "b")))


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("train-images-idx3-ubyte", packed(IMAGES)[:-1], "truncated: 23 bytes of data"),
        ("train-images-idx3-ubyte", packed(IMAGES) + b"x", "too long: 25 bytes of data"),
        ("train-images-idx3-ubyte", packed(IMAGES)[:9], "9 bytes are too few"),
        ("train-images-idx3-ubyte", b"", "0 bytes are too few"),
        ("train-images-idx3-ubyte", packed(LABELS), "magic number is 0x00000801"),
        ("train-images-idx3-ubyte", packed(IMAGES, 0x0D03), "magic number is 0x00000d03"),
        ("train-labels-idx1-ubyte", packed(IMAGES), "magic number is 0x00000803"),
        ("train-labels-idx1-ubyte", packed(LABELS[:3]), "3 labels, but"),
        ("train-labels-idx1-ubyte", packed(LABELS[:0]), "holds no labels"),
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, *[2**32 - 1] * 3), "truncated"),
        ("t10k-images-idx3-ubyte", gzip.compress(packed(IMAGES))[:-9], "damaged gzip file"),
        ("t10k-images-idx3-ubyte", b"\x1f\x8b\x08" + b"x" * 50, "damaged gzip file"),
    ],
)
def test_bad_files_are_named(tmp_path, file, content, expected):
    fill(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(BenchError, match=expected) as caught:
        idx.load(tmp_path, ImportOptions())
    assert str(caught.value).startswith(str(tmp_path / file))


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("train-labels-idx1-ubyte", "its labels are missing"),
        ("train-images-idx3-ubyte", "no train-images-idx3-ubyte"),
    ],
)
def test_missing_files(tmp_path, gone, expected):
    (fill(tmp_path) / gone).unlink()
    with pytest.raises(BenchError, match=expected):
        idx.load(tmp_path, ImportOptions())


def test_real_mnist(mnist10k):
    raw = idx.load(mnist10k, ImportOptions())
    train, test = raw.splits["train"], raw.splits["test"]
    assert train.images.shape == test.images.shape == (10_000, 1, 28, 28)
    assert np.bincount(test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]

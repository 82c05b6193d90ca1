from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from harness.data import importers
from harness.data.importers import idx
from harness.data.importers.options import ImportOptions
from harness.data.summary import AmbiguousError
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
@pytest.mark.parametrize(("prefix", "test"), [("", "t10k"), ("fashion-", "test")])
def test_pairs_are_found_and_read(tmp_path, prefix, test, suffix):
    folder = fill(tmp_path / "a", prefix, test, suffix)
    assert importers.recognise(folder).NAME == "idx"
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


# Without the time of compression, which would be in the name of the test.
ZIPPED = gzip.compress(packed(IMAGES), mtime=0)


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
        ("t10k-images-idx3-ubyte", struct.pack(">4I", 0x803, 0, *[2**32 - 1] * 2), "holds no"),
        ("t10k-images-idx3-ubyte", ZIPPED[:-9], "damaged gzip file"),
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


def test_emnist_is_transposed(tmp_path):
    fill(tmp_path / "a", "emnist-digits-", "test")
    raw = idx.load(tmp_path / "a", ImportOptions())
    np.testing.assert_array_equal(raw.splits["train"].images[:, 0], IMAGES.transpose(0, 2, 1))
    assert raw.splits["train"].images.flags.c_contiguous
    assert any("transposed" in rule for rule in raw.summary.decisions)
    kept = idx.load(tmp_path / "a", ImportOptions(transpose=False))
    np.testing.assert_array_equal(kept.splits["train"].images[:, 0], IMAGES)
    fill(tmp_path / "b")
    swapped = idx.load(tmp_path / "b", ImportOptions(transpose=True))
    np.testing.assert_array_equal(swapped.splits["test"].images[:, 0], IMAGES.transpose(0, 2, 1))


def letters(folder, prefix, labels):
    folder.mkdir()
    images = np.zeros((len(labels), 3, 2), np.uint8)
    for kind, values in (("images-idx3", images), ("labels-idx1", np.array(labels, np.uint8))):
        (folder / f"{prefix}train-{kind}-ubyte").write_bytes(packed(values))
    return folder


def test_emnists_letters_count_from_1(tmp_path):
    folder = letters(tmp_path / "a", "emnist-letters-", range(1, 27))
    raw = idx.load(folder, ImportOptions())
    assert "".join(raw.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert raw.splits["train"].labels.tolist() == list(range(26))
    names = tuple(f"letter {i}" for i in range(26))
    assert idx.load(folder, ImportOptions(classes=names)).classes == names


def test_labels_that_count_from_1(tmp_path):
    folder = letters(tmp_path / "a", "", [1, 2, 3, 1])
    with pytest.raises(AmbiguousError, match="--first-label 1 or --first-label 0"):
        idx.load(folder, ImportOptions())
    raw = idx.load(folder, ImportOptions(classes=("a", "b", "c")))
    assert (raw.classes, raw.splits["train"].labels.tolist()) == (("a", "b", "c"), [0, 1, 2, 0])
    assert idx.load(folder, ImportOptions(first_label=0)).classes == ("0", "1", "2", "3")


def test_emnists_mapping_names_the_classes(tmp_path):
    folder = letters(tmp_path / "a", "emnist-balanced-", [0, 1, 2])
    (folder / "emnist-balanced-mapping.txt").write_text("0 48\n1 65\n2 97\n")
    assert idx.load(folder, ImportOptions()).classes == ("0", "A", "a")
    (folder / "emnist-balanced-mapping.txt").write_text("zero\n")
    with pytest.raises(BenchError, match="not a mapping of labels to ASCII codes"):
        idx.load(folder, ImportOptions())


def test_an_official_validation_pair_is_kept(tmp_path):
    fill(tmp_path)
    fill(tmp_path, test="valid")
    assert set(idx.load(tmp_path, ImportOptions()).splits) == {"train", "val", "test"}


def test_other_files_are_accounted_for(tmp_path):
    fill(tmp_path, "a-")
    fill(tmp_path, "b-")
    summary = idx.load(tmp_path / "b-train-images-idx3-ubyte", ImportOptions()).summary
    assert (summary.found, summary.used["files"]) == ({"files": 8}, 4)
    assert (
        "images of other sets lie in this folder: a-t10k-images-idx3-ubyte" in summary.warnings[0]
    )

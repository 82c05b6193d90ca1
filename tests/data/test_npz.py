from __future__ import annotations

import numpy as np
import pytest

from harness.data import sources
from harness.data.sources import npz
from harness.data.sources._base import ImportOptions
from harness.errors import BenchError

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def load(tmp_path, options=None, **arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert sources.recognise(path).NAME == "npz"
    return npz.load(path, options or ImportOptions())


@pytest.mark.parametrize(
    "keys",
    [
        {"train": ("images", "labels")},
        {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
        {name: (f"{name}_images", f"{name}_labels") for name in ("train", "val", "test")},
    ],
)
def test_names_of_arrays(tmp_path, keys):
    arrays = {}
    for images, labels in keys.values():
        arrays |= {images: GREY, labels: LABELS, "unrelated": np.zeros(2)}
    raw = load(tmp_path, **arrays)
    assert set(raw.splits) == set(keys)
    for split in raw.splits.values():
        np.testing.assert_array_equal(split.images, GREY[:, np.newaxis])
        np.testing.assert_array_equal(split.labels, LABELS)
        assert split.labels.dtype == np.uint8


@pytest.mark.parametrize("layout", [None, "nhwc", "nchw"])
def test_channels_last_and_first(tmp_path, layout):
    images = COLOUR.transpose(0, 3, 1, 2) if layout == "nchw" else COLOUR
    raw = load(tmp_path, ImportOptions(layout=layout), images=images, labels=LABELS)
    np.testing.assert_array_equal(raw.splits["train"].images, COLOUR.transpose(0, 3, 1, 2))
    assert raw.splits["train"].images.flags.c_contiguous
    if layout == "nchw":
        again = load(tmp_path, images=images, labels=LABELS)
        np.testing.assert_array_equal(again.splits["train"].images, images)


@pytest.mark.parametrize("shape", [(6, 3, 4, 3), (6, 2, 4, 2)])
def test_ambiguous_layout(tmp_path, shape):
    images = np.zeros(shape, np.uint8)
    with pytest.raises(BenchError, match="pass --layout nchw or --layout nhwc"):
        load(tmp_path, images=images, labels=LABELS)
    raw = load(tmp_path, ImportOptions(layout="nhwc"), images=images, labels=LABELS)
    assert raw.splits["train"].images.shape == (6, shape[3], *shape[1:3])


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint16])
def test_whole_numbers_of_other_types(tmp_path, dtype):
    raw = load(tmp_path, images=GREY.astype(dtype), labels=LABELS[:, np.newaxis].astype(dtype))
    np.testing.assert_array_equal(raw.splits["train"].images[:, 0], GREY)
    np.testing.assert_array_equal(raw.splits["train"].labels, LABELS)


def test_labels_in_columns(tmp_path):
    bits = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]] * 2)
    raw = load(tmp_path, images=GREY, labels=bits)
    assert raw.task == "multilabel"
    np.testing.assert_array_equal(raw.splits["train"].labels, bits)


def test_one_hot_labels_need_a_word(tmp_path):
    arrays = {"images": GREY, "labels": np.eye(3)[LABELS]}
    with pytest.raises(BenchError, match="pass --task multiclass"):
        load(tmp_path, **arrays)
    classes = load(tmp_path, ImportOptions(task="multiclass"), **arrays)
    np.testing.assert_array_equal(classes.splits["train"].labels, LABELS)
    bits = load(tmp_path, ImportOptions(task="multilabel"), **arrays)
    np.testing.assert_array_equal(bits.splits["train"].labels, arrays["labels"])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"pictures": GREY}, "no training images under a known name"),
        ({"images": GREY}, "holds images but not labels"),
        ({"images": GREY, "labels": LABELS[:5]}, "5 labels for 6 images"),
        ({"images": GREY[0], "labels": LABELS}, "expected \\(N,H,W\\)"),
        ({"images": GREY / 255, "labels": LABELS}, "fractional values"),
        ({"images": GREY * np.nan, "labels": LABELS}, "must lie in 0 to 255"),
        ({"images": GREY.astype(int) - 1000, "labels": LABELS}, "must lie in 0 to 255"),
        ({"images": GREY, "labels": LABELS * 1000}, "labels must lie in 0 to 255"),
        ({"images": GREY, "labels": LABELS - 1}, "values from -1 to 1"),
        ({"images": GREY, "labels": np.array(list("abcabc"))}, "must be whole numbers"),
        ({"images": GREY, "labels": np.full((6, 3), 2)}, "other than 0 and 1"),
        ({"images": GREY, "labels": np.array([None] * 6)}, "pickled Python objects"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, "no values|holds no images"),
    ],
)
def test_unusable_arrays(tmp_path, arrays, expected):
    with pytest.raises(BenchError, match=expected) as caught:
        load(tmp_path, **arrays)
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 but no zip"])
def test_not_an_archive(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=str(path)):
        npz.load(path, ImportOptions())


def test_truncated(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=GREY, labels=LABELS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BenchError, match="damaged or truncated"):
        npz.load(path, ImportOptions())


def test_a_single_array(tmp_path):
    with (tmp_path / "a.npz").open("wb") as stream:
        np.save(stream, GREY)
    with pytest.raises(BenchError, match="a single array"):
        npz.load(tmp_path / "a.npz", ImportOptions())

from __future__ import annotations

import numpy as np
import pytest

from harness.data import importers
from harness.data.importers import npz
from harness.data.importers.options import ImportOptions
from harness.data.summary import AmbiguousError
from harness.errors import BenchError

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def load(tmp_path, options=None, **arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert importers.recognise(path).NAME == "npz"
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


# Names of arrays, patients, and values beyond 8 bits ---------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {
            "train": ("X_train", "Y_train"),
            "val": ("x_valid", "y_valid"),
            "test": ("X_test", "y_test"),
        },
        {"train": ("trainX", "trainY"), "test": ("testX", "testY")},
        {"train": ("images_train", "labels_train"), "val": ("images_dev", "labels_dev")},
        {"train": ("Images", "Labels")},
        {"train": ("X", "y")},
    ],
)
def test_usual_names_of_arrays(tmp_path, keys):
    arrays = {}
    for number, (images, labels) in enumerate(keys.values()):
        arrays |= {images: GREY + np.uint8(number), labels: LABELS}
    raw = load(tmp_path, **arrays)
    assert set(raw.splits) == set(keys)
    for number, split in enumerate(keys):
        np.testing.assert_array_equal(raw.splits[split].images[:, 0], GREY + np.uint8(number))


def test_two_arrays_for_one_split_need_a_word(tmp_path):
    arrays = {"x_train": GREY, "y_train": LABELS, "train_images": GREY[:5]}
    with pytest.raises(AmbiguousError, match="'train_images', 'x_train' could each be the images"):
        load(tmp_path, **arrays)
    raw = load(tmp_path, ImportOptions(ignore=("train_images",)), **arrays)
    assert len(raw.splits["train"]) == 6


def test_images_beside_those_of_the_splits_need_a_word(tmp_path):
    arrays = {"x_train": GREY, "y_train": LABELS, "images": GREY}
    with pytest.raises(
        AmbiguousError, match="array 'images' beside arrays of images of the splits"
    ):
        load(tmp_path, **arrays)


def test_every_array_is_accounted_for(tmp_path):
    arrays = {"x_train": GREY, "y_train": LABELS, "x_unlabelled": GREY, "note": np.array("text")}
    summary = load(tmp_path, **arrays).summary
    assert (summary.found, summary.used) == ({"arrays": 4}, {"arrays": 2, "images": 6})
    (group,) = summary.left_out
    assert group.examples == ("note", "x_unlabelled")


@pytest.mark.parametrize("key", ["patients", "patient_id", "train_patients", "PatientID_train"])
@pytest.mark.parametrize("values", [["a", "A ", "b", "b", "c", "c"], [1, 1, 2, 2, 3, 3]])
def test_an_array_of_patients_is_used(tmp_path, key, values):
    raw = load(tmp_path, images=GREY, labels=LABELS, **{key: np.array(values)})
    assert len(np.unique(raw.splits["train"].group[[0, 2, 4]])) == 3
    assert raw.splits["train"].group[0] == raw.splits["train"].group[1]
    without = ImportOptions(no_group=True)
    assert load(tmp_path, without, images=GREY, labels=LABELS).splits["train"].group is None


def test_patients_have_one_numbering_for_all_splits(tmp_path):
    arrays = {f"{kind}_{split}": values for split in ("train", "test") for kind, values in
              (("x", GREY), ("y", LABELS))}  # fmt: skip
    who = {"patient_train": np.array(list("aabbcc")), "patient_test": np.array(list("ddeeff"))}
    splits = load(tmp_path, **arrays, **who).splits
    assert not set(splits["train"].group.tolist()) & set(splits["test"].group.tolist())
    with pytest.raises(BenchError, match="no array says whom an image of test is of"):
        load(tmp_path, **arrays, patient_train=who["patient_train"])
    with pytest.raises(BenchError, match=r"patient_test: shape \(5,\) for 6 images"):
        load(tmp_path, **arrays, **(who | {"patient_test": np.arange(5)}))


def test_an_array_that_looks_like_patients_needs_a_word(tmp_path):
    arrays = {"images": GREY, "labels": LABELS, "case_code": np.array([7, 7, 8, 8, 9, 9])}
    with pytest.raises(AmbiguousError, match="--group-column casecode or --no-group"):
        load(tmp_path, **arrays)
    for options in ({"group_column": "case_code"}, {"yes": True}):
        group = load(tmp_path, ImportOptions(**options), **arrays).splits["train"].group
        assert group.tolist() == [7, 7, 8, 8, 9, 9]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_layout_that_gives_no_channels(tmp_path, layout):
    images = np.zeros((6, 16, 16, 3) if layout == "nchw" else (6, 3, 16, 16), np.uint8)
    with pytest.raises(BenchError, match=f"16 channels by --layout {layout}"):
        load(tmp_path, ImportOptions(layout=layout), images=images, labels=LABELS)


def test_values_beyond_8_bits(tmp_path):
    deep = np.arange(6 * 20, dtype=np.uint16).reshape(6, 5, 4) * 34  # up to 4046
    with pytest.raises(AmbiguousError, match="values up to 4046; pass --bit-depth"):
        load(tmp_path, images=deep, labels=LABELS)
    stated = ImportOptions(bit_depth=12)
    raw = load(tmp_path, stated, images=deep, labels=LABELS)
    np.testing.assert_array_equal(raw.splits["train"].images[:, 0], deep >> 4)
    unit = ImportOptions(window=(0, 1))
    raw = load(tmp_path, unit, images=GREY / 255, labels=LABELS)
    np.testing.assert_array_equal(raw.splits["train"].images[:, 0], GREY)
    assert "(--window)" in raw.source[0]["note"]


def test_labels_that_count_from_1(tmp_path):
    arrays = {"images": GREY, "labels": LABELS + 1}
    with pytest.raises(AmbiguousError, match=r"labels go from 1 to 3.*pass --first-label 1 or"):
        load(tmp_path, **arrays)
    raw = load(tmp_path, ImportOptions(first_label=1), **arrays)
    assert (raw.classes, raw.splits["train"].labels.tolist()) == (("1", "2", "3"), LABELS.tolist())
    raw = load(tmp_path, ImportOptions(classes=("a", "b", "c")), **arrays)
    assert (raw.classes, raw.splits["train"].labels.tolist()) == (("a", "b", "c"), LABELS.tolist())
    raw = load(tmp_path, ImportOptions(first_label=0), **arrays)
    assert raw.splits["train"].labels.tolist() == (LABELS + 1).tolist()


def test_measurements_are_no_classes(tmp_path):
    ages = np.arange(20, 80, 2)
    arrays = {"images": np.zeros((30, 2, 2), np.uint8), "labels": ages}
    with pytest.raises(AmbiguousError, match="30 different numbers from 20 to 78"):
        load(tmp_path, **arrays)
    assert len(load(tmp_path, ImportOptions(task="multiclass"), **arrays).classes) == 79

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from harness.data.reader import open_dataset
from harness.data.schema import SPLITS, Split, channel_statistics
from harness.data.writer import write_dataset
from harness.errors import BenchError


@pytest.fixture
def path(tmp_path: Path, make_dataset) -> Path:
    return write_dataset(tmp_path / "small.h5", make_dataset())


def fails(path: Path) -> str:
    """The message with which ``path`` is refused: one line that names the file."""
    with pytest.raises(BenchError) as caught:
        open_dataset(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("budget", [0, 10**9])
def test_what_is_written_is_read_back(tmp_path, make_dataset, task, budget):
    dataset = make_dataset(task, shape=(3, 5, 4))
    with open_dataset(write_dataset(tmp_path / "a.h5", dataset), budget) as file:
        assert (file.name, file.task, file.classes) == ("small", task, ("ant", "bee", "cat"))
        assert file.image_shape == (3, 5, 4)
        assert file.sizes == {"train": 12, "val": 4, "test": 5}
        assert (file.split_rule, file.license) == ("made up", "CC0")
        assert file.source == dataset.source
        assert file.mean.dtype == file.std.dtype == np.float32
        for name, split in dataset.splits.items():
            reader = file.split(name)
            assert reader.in_memory == (budget > 0)
            assert len(reader) == len(split)
            np.testing.assert_array_equal(reader.all_images(), split.images)
            np.testing.assert_array_equal(reader.labels, split.labels)
            assert reader.group is None
            assert reader.id is None


def test_groups_and_names_are_read_back(tmp_path, make_dataset):
    dataset = make_dataset()
    splits = {
        name: dataclasses.replace(
            split,
            group=np.arange(len(split)) - 2**40,
            id=[f"Röntgen {name} {i}.png" for i in range(len(split))],
        )
        for name, split in dataset.splits.items()
    }
    with open_dataset(write_dataset(tmp_path / "a.h5", make_dataset(splits=splits))) as file:
        np.testing.assert_array_equal(file.split("val").group, splits["val"].group)
        assert file.split("test").id == splits["test"].id


def test_equal_input_gives_equal_bytes(tmp_path, make_dataset):
    first, second = tmp_path / "a.h5", tmp_path / "other" / "b.h5"
    write_dataset(first, make_dataset())
    write_dataset(second, make_dataset())
    assert first.read_bytes() == second.read_bytes()
    with open_dataset(first) as file:
        assert file.sha256() == hashlib.sha256(first.read_bytes()).hexdigest()


def test_statistics_are_those_of_the_training_pixels(tmp_path, make_dataset):
    dataset = make_dataset(shape=(3, 6, 7))
    pixels = dataset.splits["train"].images / 255
    with open_dataset(write_dataset(tmp_path / "a.h5", dataset)) as file:
        np.testing.assert_allclose(file.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(file.std, pixels.std(axis=(0, 2, 3)), rtol=1e-6)


def test_statistics_do_not_depend_on_the_block(make_dataset):
    images = make_dataset(sizes=(50, 1, 1)).splits["train"].images
    whole = channel_statistics(images)
    for block_bytes in (1, 100, 10**6):
        np.testing.assert_array_equal(channel_statistics(images, block_bytes), whole)


@pytest.mark.parametrize(
    "indices",
    [[0], [11, 0, 5], [3, 3, 3], [4, 5, 6], [6, 5, 4], [0, 2, 4, 2, 0], [-1, 0], list(range(12))],
)
@pytest.mark.parametrize("budget", [0, 10**9])
def test_images_come_in_the_order_asked(path, make_dataset, indices, budget):
    expected = make_dataset().splits["train"].images[indices]
    with open_dataset(path, budget) as file:
        got = file.split("train").images(np.array(indices))
    np.testing.assert_array_equal(got, expected)
    assert got.flags.c_contiguous


@pytest.mark.parametrize("budget", [0, 10**9])
def test_odd_requests_for_images(path, budget):
    with open_dataset(path, budget) as file:
        reader = file.split("train")
        assert reader.images(np.array([], dtype=np.int64)).shape == (0, 1, 6, 7)
        for wrong in ([12], [-13], [0, 99]):
            with pytest.raises(IndexError):
                reader.images(np.array(wrong))
        with pytest.raises(ValueError, match="training"):
            file.split("training")


def test_the_memory_budget_is_for_all_splits_and_independent_of_the_order(path):
    budget = 12 * 42 + 5 * 42  # train and test fit together, val comes before test
    for order in (("train", "val", "test"), ("test", "val", "train")):
        with open_dataset(path, budget) as file:
            loaded = {name: file.split(name).in_memory for name in order}
        assert loaded == {"train": True, "val": True, "test": False}


def test_too_little_memory_falls_back_to_the_disk(path, make_dataset, monkeypatch):
    def refuse(*_args, **_keywords):
        raise MemoryError

    with open_dataset(path) as file:
        monkeypatch.setattr("harness.data.reader.np.empty", refuse)
        reader = file.split("train")
        monkeypatch.undo()
        assert not reader.in_memory
        np.testing.assert_array_equal(
            reader.images(np.array([5, 1])), make_dataset().splits["train"].images[[5, 1]]
        )


def test_memory_splits_outlive_the_file(path, make_dataset):
    with open_dataset(path) as file:
        reader = file.split("test")
    np.testing.assert_array_equal(reader.all_images(), make_dataset().splits["test"].images)


def test_class_counts(path):
    with open_dataset(path) as file:
        assert file.class_counts("test").tolist() == [2, 2, 1]


def test_large_splits_are_chunked_by_whole_images(tmp_path, make_dataset):
    write_dataset(tmp_path / "a.h5", make_dataset(sizes=(300, 1, 1), shape=(3, 64, 64)))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["train/images"].chunks == (85, 3, 64, 64)
        assert file["train/images"].compression is None


# What cannot be opened ------------------------------------------------------------------------


def test_missing_file(tmp_path):
    assert fails(tmp_path / "none.h5").startswith("no such file")


def test_a_folder_in_place_of_a_file(tmp_path):
    assert "is a folder" in fails(tmp_path)


def test_unreadable_file(path, monkeypatch):
    def refuse(*_args, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert fails(path) == "cannot be read: Permission denied"


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip file, say", b"\x89HDF", b"x" * 5000])
def test_not_hdf5(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert fails(path).startswith("not an HDF5 file")


def test_empty_file(tmp_path):
    path = tmp_path / "a.h5"
    path.touch()
    assert "0 bytes" in fails(path)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
def test_truncated(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert fails(path).startswith("truncated HDF5 file")


def test_another_schema(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 2
    assert "schema version 2, but this harness reads version 1" in fails(path)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = np.zeros(3)
    assert "no attribute 'schema'" in fails(tmp_path / "a.h5")


def replace(path: Path, name: str, values: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values


def test_label_out_of_range(path):
    replace(path, "test/labels", np.array([0, 1, 12, 1, 7], dtype=np.uint8))
    assert fails(path) == (
        "/test/labels: label 12 at index 2 is out of range, there are 3 classes "
        "(labels 0 to 2) (2 such labels)"
    )


def test_multilabel_value_that_is_not_a_bit(tmp_path, make_dataset):
    path = write_dataset(tmp_path / "a.h5", make_dataset("multilabel"))
    values = np.zeros((4, 3), dtype=np.uint8)
    values[1, 2] = 2
    replace(path, "val/labels", values)
    assert "/val/labels: value 2 at index [1, 2] is neither 0 nor 1" in fails(path)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_zero_images(path, name):
    replace(path, f"{name}/images", np.zeros((0, 1, 6, 7), dtype=np.uint8))
    replace(path, f"{name}/labels", np.zeros(0, dtype=np.uint8))
    assert fails(path) == f"/{name}/images: no images; every split needs at least one"


def test_images_of_two_sizes(path):
    replace(path, "test/images", np.zeros((5, 1, 8, 9), dtype=np.uint8))
    message = fails(path)
    assert "/test/images: images are 1x8x9 (CxHxW) but those of /train are 1x6x7" in message
    assert "--size" in message


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("train/images", np.zeros((12, 1, 6, 7)), "dtype is float64, expected uint8"),
        ("train/images", np.zeros((12, 6, 7), np.uint8), "is not (N, C, H, W)"),
        ("val/images", np.zeros((4, 1, 0, 7), np.uint8), "empty side"),
        ("val/labels", np.zeros(4, np.int64), "dtype is int64, expected uint8"),
        ("val/labels", np.zeros(3, np.uint8), "shape is (3,), expected (4,)"),
        ("val/labels", np.zeros((4, 3), np.uint8), "expected (4,) for task multiclass"),
    ],
)
def test_wrong_shapes_and_types(path, name, values, expected):
    replace(path, name, values)
    message = fails(path)
    assert message.startswith(f"/{name}: ")
    assert expected in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val", "/val: this split is missing"),
        ("val/labels", "/val/labels: this dataset is missing"),
        ("train/images", "/train/images: this dataset is missing"),
    ],
)
def test_missing_parts(path, name, expected):
    with h5py.File(path, "r+") as file:
        del file[name]
    assert fails(path) == expected


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("task", "regression", "'task' is 'regression'"),
        ("task", 3, "'task' is missing or not a string"),
        ("classes", ["only"], "1 classes, expected 2 to 256"),
        ("classes", ["a", "b", "a"], "the name 'a' appears twice"),
        ("classes", 7, "'classes' is not a list of strings"),
        ("mean", [np.nan], "'mean' holds NaN"),
        ("mean", "much", "'mean' is missing or not a list of numbers"),
        ("mean", [0.1, 0.2], "expected 1 values, one a channel"),
        ("std", [0.0], "'std' is not positive"),
        ("source", "{", "'source' is not a JSON list"),
    ],
)
def test_bad_attributes(path, attribute, value, expected):
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    assert expected in fails(path)


def test_damaged_inside(path):
    """A file whose beginning is sound but whose tables are overwritten."""
    content = bytearray(path.read_bytes())
    for marker in (b"TREE", b"SNOD", b"FRHP", b"OHDR", b"BTHD"):
        start = content.find(marker)
        while start != -1:
            content[start : start + 4] = b"\xff\xff\xff\xff"
            start = content.find(marker)
    path.write_bytes(content)
    fails(path)


# What is not written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "../evil"}, "name '../evil'"),
        ({"task": "regression"}, "task 'regression'"),
        ({"classes": ("a", "b")}, "label 2 at index 2 is out of range"),
        ({"classes": ("a", " ", "c")}, "empty name"),
    ],
)
def test_refused_fields_leave_no_file(tmp_path, make_dataset, change, expected):
    with pytest.raises(BenchError, match="not written") as caught:
        write_dataset(tmp_path / "a.h5", make_dataset(**change))
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("val", Split(np.zeros((0, 1, 6, 7), np.uint8), np.zeros(0, np.uint8)), "no images"),
        ("test", Split(np.zeros((1, 1, 8, 8), np.uint8), np.zeros(1, np.uint8)), "1x8x8"),
        ("test", Split(np.zeros((1, 1, 6, 7)), np.zeros(1, np.uint8)), "float64"),
        (
            "test",
            Split(np.zeros((1, 1, 6, 7), np.uint8), np.zeros(1, np.uint8), id=["a", "b"]),
            "2 names for 1 images",
        ),
        (
            "test",
            Split(np.zeros((1, 1, 6, 7), np.uint8), np.zeros(1, np.uint8), group=np.zeros(1)),
            "expected int64 (1,)",
        ),
    ],
)
def test_refused_splits_leave_no_file(tmp_path, make_dataset, name, split, expected):
    dataset = make_dataset()
    with pytest.raises(BenchError) as caught:
        write_dataset(tmp_path / "a.h5", make_dataset(splits={**dataset.splits, name: split}))
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_constant_channel_cannot_be_normalised(tmp_path, make_dataset):
    dataset = make_dataset()
    grey = Split(np.full((12, 1, 6, 7), 9, np.uint8), dataset.splits["train"].labels)
    with pytest.raises(BenchError, match="channel 0 of /train is the same in every pixel"):
        write_dataset(tmp_path / "a.h5", make_dataset(splits={**dataset.splits, "train": grey}))


def test_a_failed_write_keeps_the_old_file(path, make_dataset, monkeypatch):
    before = path.read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.data.writer._write_split", full)
    with pytest.raises(BenchError, match=f"cannot write {path}: No space left on device"):
        write_dataset(path, make_dataset())
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["small.h5"]


def test_a_file_in_place_of_the_folder(tmp_path, make_dataset):
    (tmp_path / "data").touch()
    with pytest.raises(BenchError, match=f"cannot write {tmp_path}"):
        write_dataset(tmp_path / "data" / "a.h5", make_dataset())


def test_whether_all_splits_fit_the_budget_together(small_file):
    with open_dataset(small_file) as data:
        assert data.fits_in_memory
        images = sum(data.sizes.values()) * 144
    for budget, fits in ((images, True), (images - 1, False)):
        with open_dataset(small_file, memory_budget=budget) as data:
            assert data.fits_in_memory is fits


def test_statistics_of_an_odd_number_of_pixels():
    images = np.random.default_rng(8).integers(0, 256, (3, 2, 3, 5), dtype=np.uint8)
    for block in (1, 40, 10_000):
        mean, std = channel_statistics(images, block_bytes=block)
        np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=1e-12)


def test_a_name_that_is_too_long_for_files(tmp_path, make_dataset):
    with pytest.raises(BenchError, match="name of 300 characters: it names files"):
        write_dataset(tmp_path / "a.h5", make_dataset(name="n" * 300))
    assert write_dataset(tmp_path / "a.h5", make_dataset(name="n" * 100)).is_file()


@pytest.mark.parametrize("budget", [0, 10**9])
def test_the_digest_of_the_content_leaves_out_where_it_came_from(make_dataset, tmp_path, budget):
    def digests(**fields):
        path = write_dataset(tmp_path / "x.h5", make_dataset(**fields))
        with open_dataset(path, memory_budget=budget) as data:
            return data.sha256(), data.content_sha256()

    plain = digests()
    moved = digests(source=[{"file": "b", "sha256": "0" * 64}], license="x", split_rule="y")
    assert moved[0] != plain[0]
    assert moved[1] == plain[1]


def test_the_digest_of_the_content_sees_every_part(make_dataset, tmp_path):
    def digest(dataset):
        with open_dataset(write_dataset(tmp_path / "x.h5", dataset), memory_budget=0) as data:
            return data.content_sha256()

    plain = make_dataset()
    found = {digest(plain), digest(dataclasses.replace(plain, classes=plain.classes[::-1]))}
    for name in SPLITS:
        split = plain.splits[name]
        images, labels = split.images.copy(), split.labels.copy()
        images[-1, 0, -1, -1] ^= 1
        labels[-1] = (labels[-1] + 1) % 3
        group = np.arange(len(split), dtype=np.int64) + 1000
        for changed in ({"images": images}, {"labels": labels}, {"group": group}):
            found.add(
                digest(
                    dataclasses.replace(
                        plain, splits={**plain.splits, name: dataclasses.replace(split, **changed)}
                    )
                )
            )
    assert len(found) == 11

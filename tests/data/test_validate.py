from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from harness.data.schema import Split
from harness.data.validate import Problem, validate
from harness.data.writer import write_dataset
from harness.errors import BenchError


def messages(path, severity):
    return [problem.message for problem in validate(path) if problem.severity == severity]


def enough(make_dataset, **fields):
    """A data set without anything to remark."""
    return make_dataset(sizes=(15, 20, 20), **fields)


def test_a_sound_file(tmp_path, make_dataset):
    assert validate(write_dataset(tmp_path / "a.h5", enough(make_dataset))) == []


@pytest.mark.parametrize("key", ["mean", "std"])
def test_statistics_are_derived_again(tmp_path, make_dataset, key):
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset))
    with h5py.File(path, "r+") as file:
        file.attrs[key] = file.attrs[key] + 1e-6
    (message,) = messages(path, "error")
    assert message.startswith(f"attribute '{key}' is ")
    assert "/train/images give" in message


def test_every_structural_fault_is_listed(tmp_path, make_dataset):
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset))
    with h5py.File(path, "r+") as file:
        del file["val"]
        file["test/labels"][0] = 200
    assert len(messages(path, "error")) == 2


def test_a_bad_header_is_a_problem_and_not_a_crash(tmp_path, make_dataset):
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset))
    with h5py.File(path, "r+") as file:
        file.attrs["mean"] = [np.nan]
    assert messages(path, "error") == ["attribute 'mean' holds NaN or infinity; export it again"]


def test_images_in_two_splits_are_counted(tmp_path, make_dataset):
    dataset = enough(make_dataset)
    test = dataset.splits["test"]
    images = np.concatenate([dataset.splits["train"].images[[3, 4]], test.images[2:]])
    splits = {**dataset.splits, "test": dataclasses.replace(test, images=images)}
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset, splits=splits))
    assert validate(path) == [Problem("warning", "2 image(s) of /test also occur in /train")]


def with_groups(dataset, groups):
    return {
        name: dataclasses.replace(split, group=np.array(groups[name]))
        for name, split in dataset.splits.items()
    }


def test_a_group_in_two_splits_is_an_error(tmp_path, make_dataset):
    dataset = enough(make_dataset)
    apart = {"train": [1] * 15, "val": [2] * 20, "test": [3] * 20}
    path = write_dataset(
        tmp_path / "a.h5", enough(make_dataset, splits=with_groups(dataset, apart))
    )
    assert validate(path) == []
    mixed = apart | {"test": [3] * 18 + [1, 1]}
    write_dataset(path, enough(make_dataset, splits=with_groups(dataset, mixed)))
    (message,) = messages(path, "error")
    assert message.startswith("1 group(s) in both /train and /test, for instance 1")


def test_groups_in_some_splits_only(tmp_path, make_dataset):
    dataset = enough(make_dataset)
    splits = with_groups(dataset, {"train": [1] * 15, "val": [2] * 20, "test": [3] * 20})
    splits["val"] = dataset.splits["val"]
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset, splits=splits))
    assert messages(path, "error") == ["/val/group is missing, although other splits have one"]


def test_classes_without_examples_and_rare_ones(tmp_path, make_dataset):
    dataset = enough(make_dataset)
    train = dataclasses.replace(
        dataset.splits["train"], labels=np.array([0] * 14 + [1], dtype=np.uint8)
    )
    path = write_dataset(
        tmp_path / "a.h5", enough(make_dataset, splits={**dataset.splits, "train": train})
    )
    assert messages(path, "warning") == [
        "/train: no example of cat",
        "/train: fewer than 5 examples of bee (1)",
    ]


def test_absent_labels_of_a_multilabel_set(tmp_path, make_dataset):
    dataset = enough(make_dataset, task="multilabel")
    val = dataset.splits["val"]
    silent = dataclasses.replace(val, labels=np.zeros_like(val.labels))
    path = write_dataset(
        tmp_path / "a.h5",
        enough(make_dataset, task="multilabel", splits={**dataset.splits, "val": silent}),
    )
    assert messages(path, "warning") == [
        "/val: no positive of ant, bee, cat: its AUROC is undefined there",
    ]


def test_few_positives_and_no_negative_of_a_label(tmp_path, make_dataset):
    dataset = enough(make_dataset, task="multilabel")
    labels = np.zeros((15, 3), dtype=np.uint8)
    labels[:, 0] = 1
    labels[:4, 1] = 1
    labels[:7, 2] = 1
    train = dataclasses.replace(dataset.splits["train"], labels=labels)
    every = np.ones((20, 3), dtype=np.uint8)
    every[0] = 0
    splits = {
        name: dataclasses.replace(dataset.splits[name], labels=every) for name in ("val", "test")
    }
    path = write_dataset(
        tmp_path / "a.h5",
        enough(make_dataset, task="multilabel", splits={"train": train, **splits}),
    )
    assert messages(path, "warning") == [
        "/train: no negative of ant: its AUROC is undefined there",
        "/train: fewer than 5 positive examples of bee (4)",
    ]


def test_constant_images(tmp_path, make_dataset):
    dataset = enough(make_dataset)
    images = dataset.splits["val"].images.copy()
    images[[2, 5]] = 0
    images[5] = 255
    val = Split(images, dataset.splits["val"].labels)
    path = write_dataset(
        tmp_path / "a.h5", enough(make_dataset, splits={**dataset.splits, "val": val})
    )
    assert messages(path, "warning") == [
        "/val/images: 2 image(s) of a single value, the first at index 2"
    ]


def test_sources(tmp_path, make_dataset):
    path = write_dataset(tmp_path / "a.h5", enough(make_dataset, source=[]))
    assert messages(path, "warning") == ["attribute 'source' lists no files: the origin is unknown"]
    write_dataset(path, enough(make_dataset, source=[{"file": "x", "sha256": "abc"}]))
    assert messages(path, "error") == ["attribute 'source': 'x' has no valid SHA-256 checksum"]


def test_what_is_no_hdf5_file_cannot_be_examined(tmp_path):
    (tmp_path / "a.h5").write_text("text")
    with pytest.raises(BenchError, match="not an HDF5 file"):
        validate(tmp_path / "a.h5")


def test_small_splits_and_splits_of_one_class(tmp_path, make_dataset):
    dataset = make_dataset(sizes=(15, 20, 19))
    val = dataclasses.replace(dataset.splits["val"], labels=np.ones(20, dtype=np.uint8))
    path = write_dataset(tmp_path / "a.h5", make_dataset(splits={**dataset.splits, "val": val}))
    assert messages(path, "warning") == [
        "/val: all images are of one class, bee",
        "/test: only 19 images; a score there is a guess",
    ]

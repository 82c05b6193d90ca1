from __future__ import annotations

import numpy as np
import pytest

from harness.data.schema import Split
from harness.data.split import Fractions, complete
from harness.errors import BenchError


def numbered(labels, group=None) -> Split:
    """Images that hold their own index, so that one can see where they went."""
    count = len(labels)
    images = np.zeros((count, 1, 1, 2), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(count), 256)
    return Split(images, np.asarray(labels, np.uint8), group, [str(i) for i in range(count)])


def indices(split: Split) -> list[int]:
    return [int(high) * 256 + int(low) for high, low in split.images[:, 0, 0]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("val", "test"), [(None, None), (0.05, 0.5), (0.33, 0.33)])
def test_every_image_lands_in_one_split_with_its_label(seed, val, test):
    labels = np.arange(1000) * 7 % 10
    splits, _ = complete({"train": numbered(labels)}, "multiclass", Fractions(val, test, seed))
    found = {name: indices(split) for name, split in splits.items()}
    assert sorted(i for part in found.values() for i in part) == list(range(1000))
    for name, split in splits.items():
        assert found[name] == sorted(found[name])
        assert split.labels.tolist() == labels[found[name]].tolist()
        assert split.id == [str(i) for i in found[name]]
    assert len(found["val"]) == 1000 * (val or 0.1)
    assert len(found["test"]) == 1000 * (test or 0.2)


def test_classes_keep_their_shares():
    labels = np.repeat([0, 1, 2], [500, 100, 20])
    splits, rule = complete({"train": numbered(labels)}, "multiclass", Fractions())
    assert np.bincount(splits["test"].labels).tolist() == [100, 20, 4]
    assert np.bincount(splits["val"].labels).tolist() == [50, 10, 2]
    assert rule == (
        "the source has one set; taken from train stratified by class: "
        "test 124 (0.2), val 62 (0.1); PCG64 seed 0"
    )


def test_small_classes_still_reach_every_split():
    splits, _ = complete(
        {"train": numbered([0, 0, 0, 1, 1, 2])}, "multiclass", Fractions(0.01, 0.01)
    )
    assert splits["train"].labels.tolist() == [0, 1, 2]
    assert sorted(splits["test"].labels.tolist()) == [0, 1]
    assert splits["val"].labels.tolist() == [0]


def test_an_official_test_split_is_kept():
    test = numbered(np.zeros(30))
    splits, rule = complete(
        {"train": numbered(np.arange(1000) % 10), "test": test}, "multiclass", Fractions()
    )
    assert splits["test"] is test
    assert (len(splits["train"]), len(splits["val"])) == (950, 50)
    assert "train, test as in the source" in rule


def test_official_splits_are_all_kept():
    official = {name: numbered([0, 1]) for name in ("train", "val", "test")}
    splits, rule = complete(official, "multiclass", Fractions(seed=3))
    assert splits == official
    assert rule == "train, val, test as in the source"


def test_the_seed_decides():
    def train(seed):
        splits, rule = complete(
            {"train": numbered(np.arange(200) % 4)}, "multiclass", Fractions(seed=seed)
        )
        assert rule.endswith(f"PCG64 seed {seed}")
        return indices(splits["train"])

    assert train(1) == train(1)
    assert train(1) != train(2)


def test_the_split_never_changes():
    """Published numbers depend on it. NumPy promises the raw output of PCG64 for ever."""
    splits, _ = complete({"train": numbered(np.zeros(20))}, "multiclass", Fractions())
    assert (indices(splits["val"]), indices(splits["test"])) == FIXED


FIXED = ([1, 15], [2, 3, 11, 13])


@pytest.mark.parametrize("seed", range(20))
def test_no_group_lands_in_two_splits(seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 60, 400).astype(np.int64) * 1000 - 7
    splits, rule = complete(
        {"train": numbered(rng.integers(0, 3, 400), group)}, "multiclass", Fractions(seed=seed)
    )
    found = [set(split.group.tolist()) for split in splits.values()]
    assert sum(map(len, found)) == len(set().union(*found)) == len(np.unique(group))
    assert abs(len(splits["test"]) - 80) <= 12
    assert abs(len(splits["val"]) - 40) <= 12
    assert "by group" in rule


def test_one_large_group_does_not_starve_a_split():
    group = np.array([1] * 97 + [2, 3, 4], np.int64)
    for seed in range(10):
        splits, _ = complete(
            {"train": numbered(np.zeros(100), group)}, "multiclass", Fractions(seed=seed)
        )
        assert all(len(split) for split in splits.values())


def test_multilabel_is_split_at_random():
    split = Split(np.zeros((50, 1, 2, 2), np.uint8), np.zeros((50, 4), np.uint8))
    splits, rule = complete({"train": split}, "multilabel", Fractions())
    assert [len(splits[name]) for name in ("train", "val", "test")] == [35, 5, 10]
    assert "at random" in rule


@pytest.mark.parametrize(
    ("labels", "group", "fractions", "expected"),
    [
        ([0, 1], None, Fractions(), "2 training images cannot be divided"),
        ([0, 1, 2], None, Fractions(), "no class has enough images to give one to test"),
        ([0] * 9, [1] * 9, Fractions(), "1 group cannot be divided"),
        ([0] * 9, None, Fractions(0.5, 0.5), "leave nothing for training"),
    ],
)
def test_what_cannot_be_divided(labels, group, fractions, expected):
    group = None if group is None else np.array(group, np.int64)
    with pytest.raises(BenchError, match=expected):
        complete({"train": numbered(labels, group)}, "multiclass", fractions)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 7.0, float("nan")])
def test_fractions_out_of_range(value):
    with pytest.raises(BenchError, match=r"--val-fraction .* must lie between 0 and 1"):
        Fractions(val=value)
    with pytest.raises(BenchError, match=r"--test-fraction .* must lie between 0 and 1"):
        Fractions(test=value)


def test_negative_seed():
    with pytest.raises(BenchError, match="--split-seed -1"):
        Fractions(seed=-1)


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_fraction_of_an_official_split_is_refused(name):
    splits = {"train": numbered([0, 1] * 9), name: numbered([0, 1])}
    with pytest.raises(BenchError, match=f"--{name}-fraction: the source has"):
        complete(splits, "multiclass", Fractions(**{name: 0.3}))

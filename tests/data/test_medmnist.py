from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from harness.data import importers
from harness.data.cards import find_card
from harness.data.importers import medmnist
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.data.reader import open_dataset
from harness.errors import BenchError


@pytest.fixture
def archive(tmp_path):
    """An archive in MedMNIST's form: 28x28, labels (N, 1) or (N, 14)."""

    def make(name="chestmnist.npz", splits=("train", "val", "test"), columns=14):
        rng = np.random.default_rng(1)
        arrays = {}
        for split, size in zip(splits, (30, 8, 10), strict=False):
            arrays[f"{split}_images"] = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
            labels = rng.integers(0, 2, (size, columns), dtype=np.uint8)
            labels[:2, 0] = 0, 1
            arrays[f"{split}_labels"] = labels
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return make


def known_as(monkeypatch, path, name):
    """Let the checksum of ``path`` be the official one of ``name`` at 28x28."""
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    known = dataclasses.replace(medmnist.KNOWN[name], md5={**medmnist.KNOWN[name].md5, 28: md5})
    monkeypatch.setitem(medmnist.KNOWN, name, known)
    return md5


def test_chestmnist_keeps_its_splits_and_its_order(archive, tmp_path, monkeypatch, capsys):
    path = archive()
    md5 = known_as(monkeypatch, path, "chestmnist")
    assert importers.recognise(path).NAME == "medmnist"
    with open_dataset(import_path(path, "chest", tmp_path / "c.h5")) as file:
        assert file.task == "multilabel"
        assert file.classes[:2] + file.classes[-2:] == (
            "atelectasis", "cardiomegaly", "pleural", "hernia",
        )  # fmt: skip
        assert file.sizes == {"train": 30, "val": 8, "test": 10}
        assert file.image_shape == (1, 28, 28)
        assert file.split_rule == "MedMNIST's own train, val and test (chestmnist)"
        assert file.license == "CC BY 4.0 (MedMNIST)"
        (entry,) = file.source
        assert entry["note"] == f"MD5 {md5} is that of MedMNIST's chestmnist.npz"
        with np.load(path) as arrays:
            np.testing.assert_array_equal(file.split("val").labels, arrays["val_labels"])
            np.testing.assert_array_equal(
                file.split("test").all_images()[:, 0], arrays["test_images"]
            )
    assert capsys.readouterr().err == ""


def test_pneumoniamnist_has_classes(archive, tmp_path, monkeypatch):
    path = archive("pneumoniamnist.npz", columns=1)
    known_as(monkeypatch, path, "pneumoniamnist")
    with open_dataset(import_path(path, "p", tmp_path / "p.h5", format="medmnist")) as file:
        assert (file.task, file.classes) == ("multiclass", ("normal", "pneumonia"))


def test_a_renamed_archive_is_known_by_its_md5(archive, tmp_path, monkeypatch):
    path = archive("mine.npz")
    known_as(monkeypatch, path, "chestmnist")
    assert importers.recognise(path).NAME == "npz"
    raw = medmnist.load(path, ImportOptions())
    assert raw.classes == medmnist.KNOWN["chestmnist"].classes


def test_another_file_of_that_name_is_a_warning_that_stays(archive, tmp_path, capsys):
    path = archive("chestmnist_64.npz")
    with open_dataset(import_path(path, "c", tmp_path / "c.h5")) as file:
        note = file.source[0]["note"]
    assert note.startswith("WARNING: MD5 ")
    assert "MedMNIST's chestmnist_64.npz (9de6cd0b934ebb5b7426cfba5efbae16)" in note
    told = capsys.readouterr().err.replace("\n", " ")
    assert "warning: " in told
    assert "changed, damaged or another file" in told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "other.npz"}, "neither a name nor an MD5 of MedMNIST's chest X-rays"),
        ({"splits": ("train", "val")}, "no test_images"),
        ({"columns": 5}, "multilabel of 5 classes, but those of MedMNIST's chestmnist.npz are"),
        ({"columns": 1}, "multilabel needs labels of shape"),
        ({"name": "pneumoniamnist.npz"}, "pneumoniamnist.npz"),
    ],
)
def test_what_is_not_medmnist(archive, arguments, expected):
    with pytest.raises(BenchError, match=expected):
        medmnist.load(archive(**arguments), ImportOptions())


def test_a_folder_is_no_archive(tmp_path):
    with pytest.raises(BenchError, match=r"not a file; expected one of pneumoniamnist.npz, "):
        medmnist.load(tmp_path, ImportOptions())


@pytest.mark.parametrize("name", medmnist.KNOWN)
def test_the_cards_say_the_same(name):
    card, known = find_card(name), medmnist.KNOWN[name]
    assert (card.kind, card.task, card.classes) == ("medmnist", known.task, known.classes)
    assert [(file.name, file.md5) for file in card.files] == [(f"{name}.npz", known.md5[28])]
    assert list(known.md5) == [28, 64, 128, 224]

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import sources
from harness.data.importing import assemble
from harness.data.sources import table
from harness.data.sources._base import ImportOptions
from harness.errors import BenchError


@pytest.fixture
def make(tmp_path):
    """Write a table, and an image for each name in ``images`` whose pixels begin with its rank."""

    def write(text: str, images="abcdef", below="") -> Path:
        (tmp_path / below).mkdir(parents=True, exist_ok=True)
        for rank, name in enumerate(images):
            pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
            pixels[0, 0] = rank % 256
            Image.fromarray(pixels).save(tmp_path / below / f"{name}.png")
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def load(path, **options):
    return table.load(path, ImportOptions(**options))


@pytest.mark.parametrize("below", ["", "images", "some/where"])
def test_one_column_of_labels(make, below):
    folder = make("file,label\nb.png,dog\na.png,ant\nc.png,dog\n", below=below)
    assert sources.recognise(folder).NAME == "table"
    assert sources.recognise(folder / "labels.csv").NAME == "table"
    for path in (folder, folder / "labels.csv"):
        raw = load(path)
        train = raw.splits["train"]
        assert (raw.task, raw.classes) == ("multiclass", ("ant", "dog"))
        assert train.id == ["b.png", "a.png", "c.png"]
        assert train.labels.tolist() == [1, 0, 1]
        assert train.images[:, 0, 0, 0].tolist() == [1, 0, 2]
        assert [entry["file"] for entry in raw.source] == ["labels.csv", f"{folder.name}/"]


def test_numbers_are_sorted_as_numbers(make):
    raw = load(make("image,class\na.png,10\nb.png,9\nc.png,-\n"))
    assert raw.classes == ("9", "10", "-")


def test_labels_joined_by_a_bar(make):
    raw = load(make("filename,labels\na.png,wet|cold\nb.png,No Finding\nc.png,cold\nd.png,\n"))
    assert (raw.task, raw.classes) == ("multilabel", ("cold", "wet"))
    assert raw.splits["train"].labels.tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]


def test_the_task_can_be_said(make):
    raw = load(make("file,label\na.png,wet\nb.png,\nc.png,cold\n"), task="multilabel")
    assert raw.splits["train"].labels.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_columns_of_bits(make):
    raw = load(make("path,wet,cold\na.png,1,0\nb.png,0,0\nc.png,1,1\n"))
    assert (raw.task, raw.classes) == ("multilabel", ("wet", "cold"))
    assert raw.splits["train"].labels.tolist() == [[1, 0], [0, 0], [1, 1]]


def test_columns_can_be_named(make):
    text = "where,who,age,kind,use\na.png,7,40,x,train\nb.png,9,41,y,TEST\nc.png,7,42,y,valid\n"
    raw = load(
        make(text),
        file_column="where",
        label_columns=("kind",),
        group_column="who",
        split_column="use",
    )
    assert {name: split.id for name, split in raw.splits.items()} == {
        "train": ["a.png"],
        "test": ["b.png"],
        "val": ["c.png"],
    }
    assert raw.splits["train"].group.tolist() == [7]
    assert raw.split_note == "column 'use' of labels.csv"


def test_groups_that_are_no_numbers(make):
    raw = load(make("file,label,patient\na.png,x,Zoe\nb.png,y,Ada\nc.png,y,Zoe\n"))
    assert raw.splits["train"].group.tolist() == [1, 0, 1]
    assert raw.splits["train"].group.dtype == np.int64


def test_a_list_of_test_images(make):
    folder = make("file,label\na.png,x\nb.png,y\nc.png,y\n")
    (folder / "mine.txt").write_text("c.png\nnot-here.png\n")
    raw = load(folder, test_list=folder / "mine.txt")
    assert raw.splits["test"].id == ["c.png"]
    assert raw.split_note == "test as in mine.txt"
    (folder / "mine.txt").write_text("nothing\n")
    with pytest.raises(BenchError, match="leaves no test images"):
        load(folder, test_list=folder / "mine.txt")


def test_chosen_classes(make):
    folder = make("file,label\na.png,x\nb.png,y\n")
    assert load(folder, classes=("z", "y", "x")).splits["train"].labels.tolist() == [2, 1]
    with pytest.raises(BenchError, match="label 'y' is not among --classes"):
        load(folder, classes=("x", "z"))


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("", {}, "no rows below the header"),
        ("file,label\n", {}, "no rows below the header"),
        ("name,label\na.png,x\n", {}, "no column of file names among name, label"),
        ("file,kind\na.png,x\n", {}, "no column of labels among file, kind"),
        ("file,label\na.png,x,1\n", {}, "line 2 has 3 values, but there are 2 columns"),
        ("file,label\na.png,x\na.png,y\n", {}, "'a.png' stands in two rows"),
        ("file,label\na.png,x\nz.png,y\n", {}, "1 of 2 images are not under"),
        ("file,label\na.png,x\n,y\n", {}, "1 of 2 images are not under"),
        ("file,label\na.png,x\nb.png,\n", {}, "row 2 has no label"),
        ("file,label,split\na.png,x,train\nb.png,y,later\n", {}, "'later' in column 'split'"),
        ("file,label,split\na.png,x,test\nb.png,y,test\n", {}, "leaves no training images"),
        ("file,label\na.png,x\n", {"file_column": "f"}, "--file-column 'f': no such column"),
        ("file,label\na.png,x\n", {"label_columns": ("l",)}, "--label-column 'l': no such"),
        ("file,a,b\na.png,1,2\n", {"label_columns": ("a", "b")}, "row 1: '2' in a 0/1 column"),
        ("file,a,b\na.png,1,\n", {"label_columns": ("a", "b")}, "row 1: '' in a 0/1 column"),
    ],
)
def test_unusable_tables(make, text, options, expected):
    folder = make(text)
    with pytest.raises(BenchError, match=expected) as caught:
        load(folder, **options)
    assert str(caught.value).startswith(f"{folder / 'labels.csv'}: ")


def test_not_text(make):
    folder = make("")
    (folder / "labels.csv").write_bytes(b"file,label\n\xff\xfe\x00,x\n")
    with pytest.raises(BenchError, match="not a CSV file in UTF-8"):
        load(folder)


def test_more_classes_than_labels_can_count(make):
    folder = make("file,label\n" + "".join(f"{i}.png,c{i}\n" for i in range(257)), range(257))
    with pytest.raises(BenchError, match="257 different labels"):
        load(folder)


def test_one_name_in_two_folders(make):
    folder = make("file,label\na.png,x\n", below="one")
    make("file,label\na.png,x\n", below="two")
    with pytest.raises(BenchError, match=r"'a\.png' could be"):
        load(folder)


def test_several_tables(make):
    folder = make("file,label\na.png,x\nb.png,y\n")
    (folder / "other.csv").write_text("x\n")
    with pytest.raises(BenchError, match="2 CSV files in this folder; pass --labels-csv"):
        load(folder)
    raw = load(folder, labels_csv=folder / "labels.csv")
    assert raw.classes == ("x", "y")


def test_real_nih_x_rays(nih1000):
    """Also as any other table, although NIH's layout has a source of its own."""
    raw = load(nih1000)
    dataset = assemble(raw, "nih")
    assert raw.task == "multilabel"
    assert len(raw.classes) == 14
    assert "No Finding" not in raw.classes
    with (nih1000 / "Data_Entry_2017_v2020.csv").open(newline="") as stream:
        rows = {row["Image Index"]: row for row in csv.DictReader(stream)}
    counts = Counter(label for row in rows.values() for label in row["Finding Labels"].split("|"))
    total = sum(split.labels.sum(axis=0, dtype=int) for split in dataset.splits.values())
    assert dict(zip(raw.classes, total.tolist(), strict=True)) == {
        name: counts[name] for name in raw.classes
    }
    official = (nih1000 / "test_list.txt").read_text().split()
    assert sorted(dataset.splits["test"].id) == sorted(official)
    patients = [set(split.group.tolist()) for split in dataset.splits.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 264
    for split in dataset.splits.values():
        assert split.images.shape[1:] == (1, 64, 64)
        for name, group, labels in zip(split.id, split.group, split.labels, strict=True):
            assert group == int(rows[name]["Patient ID"])
            assert labels.sum() == len(
                set(rows[name]["Finding Labels"].split("|")) - {"No Finding"}
            )

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import importers
from harness.data.importers import table
from harness.data.importers.options import ImportOptions
from harness.data.importing import assemble
from harness.data.summary import AmbiguousError
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
    assert importers.recognise(folder).NAME == "table"
    assert importers.recognise(folder / "labels.csv").NAME == "table"
    for path in (folder, folder / "labels.csv"):
        raw = load(path)
        train = raw.splits["train"]
        assert (raw.task, raw.classes) == ("multiclass", ("ant", "dog"))
        assert train.id == ["b.png", "a.png", "c.png"]
        assert train.labels.tolist() == [1, 0, 1]
        assert train.images[:, 0, 0, 0].tolist() == [1, 0, 2]
        assert [entry["file"] for entry in raw.source] == ["labels.csv", f"{folder.name}/"]


def test_numbers_are_sorted_as_numbers(make):
    raw = load(make("image,class\na.png,10\nb.png,9\nc.png,x\n"))
    assert raw.classes == ("9", "10", "x")


def test_labels_joined_by_a_bar(make):
    raw = load(make("filename,labels\na.png,wet|cold\nb.png,No Finding\nc.png,cold\nd.png,\n"))
    assert (raw.task, raw.classes) == ("multilabel", ("cold", "wet"))
    assert raw.splits["train"].labels.tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]


def test_the_task_can_be_said(make):
    raw = load(make("file,label\na.png,wet\nb.png,\nc.png,cold\n"), task="multilabel")
    assert raw.splits["train"].labels.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_columns_of_bits(make):
    folder = make("path,wet,cold\na.png,1,0\nb.png,0.0,0\nc.png,1.0,True\n")
    for options in ({"label_columns": ("wet", "cold")}, {"classes": ("wet", "cold")}):
        raw = load(folder, **options)
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
    with pytest.raises(
        BenchError, match=r"2 CSV files in this folder \(labels.csv, other.csv\); pass --labels-csv"
    ):
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


# Whom an image is of ----------------------------------------------------------------------------

EIGHT = "".join(
    f"{name}.png,{'xy'[rank % 2]},P{rank // 2}\n" for rank, name in enumerate("abcdefgh")
)


@pytest.mark.parametrize(
    "column",
    [
        *("patient", "PatientID", "patientid", "Patient ID", "patient_id", "patient.id", "mrn"),
        *("subject_id", "SubjectId", "MRN", "Participant ID", "Patient Number", "patient-no"),
    ],
)
def test_usual_names_of_the_patient(make, column):
    train = load(make(f"file,label,{column}\n{EIGHT}", "abcdefgh")).splits["train"]
    assert train.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("column", ["case_ref", "study uid", "person_code", "barcode", "scan"])
def test_what_looks_like_an_identifier_needs_a_word(make, column):
    folder = make(f"file,label,{column}\n{EIGHT}", "abcdefgh")
    with pytest.raises(AmbiguousError) as caught:
        load(folder)
    assert f"pass --group-column '{column}' or --no-group" in str(caught.value)
    assert load(folder, no_group=True).splits["train"].group is None
    stated = load(folder, group_column=column)
    assert stated.splits["train"].group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    default = load(folder, yes=True)
    assert default.splits["train"].group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert any("--yes" in rule for rule in default.summary.decisions)


@pytest.mark.parametrize("column", ["age", "sex", "View Position", "height"])
def test_what_does_not_look_like_an_identifier_needs_none(make, column):
    rows = "".join(f"{name}.png,x,{50 + rank // 2}\n" for rank, name in enumerate("abcd"))
    raw = load(make(f"file,label,{column}\n{rows}"))
    assert raw.splits["train"].group is None
    (columns,) = [group for group in raw.summary.left_out if group.what == "columns"]
    assert columns.examples == (column,)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["P1", "P1 ", "p1", "P2"], [0, 0, 0, 1]),
        (["17", "17.0", " 17", "3"], [17, 17, 17, 3]),
        (["7", "", "nan", "7.0"], [7, 8, 9, 7]),
        (["A", "", "", "a"], [0, 1, 2, 0]),
        (["9999999999999999999", "1", "1.0", ""], [1, 0, 0, 2]),
    ],
)
def test_one_patient_however_it_is_written(make, values, expected):
    rows = "".join(f"{name}.png,x,{who}\n" for name, who in zip("abcd", values, strict=True))
    raw = load(make(f"file,label,patient\n{rows}"))
    assert raw.splits["train"].group.tolist() == expected
    assert any("group of its own" in text for text in raw.summary.warnings) == ("" in values)


def test_a_column_of_patients_that_is_empty(make):
    raw = load(make("file,label,patient\na.png,x,\nb.png,y,NA\n"))
    assert raw.splits["train"].group is None
    assert raw.summary.warnings == ("column 'patient' is empty: nothing says whom an image is of",)


# Images of rows ---------------------------------------------------------------------------------


def test_an_image_in_another_folder_is_not_that_of_the_row(make):
    folder = make("file,label\nx/a.png,p\nx/b.png,q\n", "ab", below="x")
    (folder / "y").mkdir()
    (folder / "x" / "b.png").rename(folder / "y" / "b.png")
    with pytest.raises(AmbiguousError, match=r"'x/b\.png' may be 'y/b\.png'; pass --loose-names"):
        load(folder)
    assert load(folder, allow_missing=True).splits["train"].id == ["x/a.png"]
    loose = load(folder, loose_names=True).splits["train"]
    assert loose.images[:, 0, 0, 0].tolist() == [0, 1]


def test_a_bare_name_means_the_folder_of_the_others(make):
    folder = make("file,label\na.png,p\nb.png,q\n", "ab", below="images")
    (folder / "masks").mkdir()
    for name in "ab":
        Image.new("L", (4, 3), 99).save(folder / "masks" / f"{name}.png")
    assert load(folder).splits["train"].images[:, 0, 0, 0].tolist() == [0, 1]
    (folder / "images" / "b.png").unlink()
    with pytest.raises(AmbiguousError, match=r"'b\.png' may be 'masks/b\.png'"):
        load(folder)


def test_one_image_serves_one_row(make):
    folder = make("file,label\na.png,p\n./a.png,q\nb.png,q\n")
    with pytest.raises(BenchError, match=r"'a\.png' and '\./a\.png' are one image"):
        load(folder)


def absolute(folder, name):
    return str(folder / "images" / name)


def elsewhere(_folder, name):
    return f"/home/someone/data/images/{name}"


def windows(_folder, name):
    return f"C:\\data\\images\\{name}"


@pytest.mark.parametrize("written", [absolute, elsewhere, windows])
def test_paths_of_another_place(make, tmp_path, written):
    make("", "ab", below="images")
    table_folder = tmp_path / "tables"
    table_folder.mkdir()
    rows = "".join(f"{written(tmp_path, f'{name}.png')},{name}\n" for name in "ab")
    (table_folder / "t.csv").write_text(f"file,label\n{rows}")
    (tmp_path / "labels.csv").unlink()
    raw = load(tmp_path, labels_csv=table_folder / "t.csv")
    assert raw.splits["train"].images[:, 0, 0, 0].tolist() == [0, 1]
    assert raw.splits["train"].labels.tolist() == [0, 1]


def test_absolute_paths_beside_a_table_elsewhere(make, tmp_path):
    """Images outside the folder of the table: their names are in the checksum as they are."""
    make("", "ab", below="images")
    (tmp_path / "tables").mkdir()
    table_file = tmp_path / "tables" / "t.csv"
    rows = "".join(f"{tmp_path}/images/{name}.png,{name}\n" for name in "ab")
    table_file.write_text(f"file,label\n{rows}")
    with pytest.raises(AmbiguousError, match="the table names 2 images outside"):
        load(table_file)
    assert load(table_file, yes=True).splits["train"].images[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("name", ["../secret.png", "images/../../secret.png", "{d}/secret.png"])
def test_a_table_does_not_lead_out_of_its_folder(make, tmp_path, name):
    folder = tmp_path / "here"
    make("", ["secret"])
    (folder / "images").mkdir(parents=True)
    rows = f"file,label\n{name.replace('{d}', str(tmp_path))},x\na.png,y\n"
    (folder / "t.csv").write_text(rows)
    (folder / "a.png").write_bytes((tmp_path / "secret.png").read_bytes())
    with pytest.raises(AmbiguousError, match="the table names 1 image outside"):
        load(folder)


def test_names_in_another_unicode_form(make):
    composed, decomposed = "\u00e4", "a\u0308"
    folder = make(f"file,label\n{composed}.png,x\nb.png,y\n", [decomposed, "b"])
    assert load(folder).splits["train"].images[:, 0, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("names", [("A.PNG", "B.PNG"), ("a", "b"), ("a.jpg", "b.jpg")])
def test_other_case_and_suffix_are_suggested(make, names):
    folder = make(f"file,label\n{names[0]},x\n{names[1]},y\n", "ab")
    with pytest.raises(AmbiguousError) as caught:
        load(folder)
    assert f"{names[0]!r} may be 'a.png', {names[1]!r} may be 'b.png'" in str(caught.value)
    for options in ({"loose_names": True}, {"yes": True}):
        assert load(folder, **options).splits["train"].labels.tolist() == [0, 1]


def test_file_names_that_are_no_text(make):
    folder = make("file,label\na.png,x\nb.png,y\n", "ab")
    os.rename(folder / "a.png", os.fsencode(folder) + b"/\xe4.png")
    with pytest.raises(BenchError, match="1 of 2 images are not under"):
        load(folder)
    raw = load(folder, allow_missing=True)
    (group,) = [group for group in raw.summary.left_out if group.what == "image files"]
    assert group.examples == (r"\xe4.png",)


def test_links_and_what_is_no_file(make):
    folder = make("file,label\na.png,x\nb.png,y\nc.png,y\n", "a", below="real")
    (folder / "images").symlink_to(folder / "real")
    (folder / "real" / "loop").symlink_to(folder / "real")
    os.mkfifo(folder / "real" / "b.png")
    (folder / "real" / "c.png").symlink_to(folder / "nowhere")
    (folder / "real" / "d.png").mkdir()
    with pytest.raises(BenchError, match="2 of 3 images are not under"):
        load(folder)
    raw = load(folder, allow_missing=True)
    assert raw.splits["train"].id == ["a.png"]


def test_everything_is_accounted_for(make):
    folder = make("file,label,age\na.png,x,40\nb.png,y,41\nz.png,y,42\n", "abcd")
    (folder / "readme.md").write_text("text")
    (folder / ".hidden").write_text("text")
    summary = load(folder, allow_missing=True).summary
    assert summary.found == {"rows": 3, "columns": 3, "files": 7}
    assert summary.used == {"columns": 2, "images": 2, "rows": 2}
    assert {(group.what, group.reason): group.examples for group in summary.left_out} == {
        ("columns", "not needed"): ("age",),
        ("files or folders", "hidden, or the system's own"): (".hidden",),
        ("rows", "image missing"): ("z.png",),
        ("image files", "no row in the table"): ("c.png", "d.png"),
        ("files", "not images"): ("readme.md",),
    }


# Labels -----------------------------------------------------------------------------------------


def test_one_hot_columns(make):
    folder = make("file,cat,dog,eel\na.png,1,0,0\nb.png,0,1,0\nc.png,0,0,1\n")
    columns = {"label_columns": ("cat", "dog", "eel")}
    with pytest.raises(AmbiguousError, match=r"--task multiclass .* or --task multilabel"):
        load(folder, **columns)
    raw = load(folder, task="multiclass", **columns)
    assert (raw.task, raw.classes) == ("multiclass", ("cat", "dog", "eel"))
    assert raw.splits["train"].labels.tolist() == [0, 1, 2]
    raw = load(folder, task="multilabel", **columns)
    assert raw.splits["train"].labels.tolist() == np.eye(3, dtype=int).tolist()
    make("file,cat,dog,eel\na.png,1,0,0\nb.png,0,1,1\nc.png,0,0,1\n")
    with pytest.raises(BenchError, match="task multiclass, but row 2 of the labels has 2 ones"):
        load(folder, task="multiclass", **columns)


def test_class_names_are_names_of_columns(make):
    """Never by position: that would give the labels of one column to the name of another."""
    folder = make("file,wet,cold\na.png,1,0\nb.png,1,1\nc.png,0,0\n")
    raw = load(folder, label_columns=("wet", "cold"), classes=("cold", "wet"))
    assert raw.classes == ("cold", "wet")
    assert raw.splits["train"].labels.tolist() == [[0, 1], [1, 1], [0, 0]]
    with pytest.raises(BenchError, match="--classes must name the columns of labels, wet, cold"):
        load(folder, label_columns=("wet", "cold"), classes=("A", "B"))


def test_columns_of_bits_are_not_guessed(make):
    folder = make("file,sex,over60,mass\na.png,0,1,1\nb.png,1,1,0\nc.png,0,0,0\n")
    with pytest.raises(AmbiguousError, match="'sex', 'over60', 'mass' hold 0 and 1"):
        load(folder)
    assert load(folder, label_columns=("mass",), task="multiclass").classes == ("0", "1")
    assert load(folder, yes=True).classes == ("sex", "over60", "mass")


def test_numbered_classes_are_named(make):
    folder = make("file,label\na.png,1\nb.png,0.0\nc.png,1.0\n")
    assert load(folder).classes == ("0", "1")
    raw = load(folder, classes=("normal", "ill"))
    assert (raw.classes, raw.splits["train"].labels.tolist()) == (("normal", "ill"), [1, 0, 1])


@pytest.mark.parametrize("text", ["nan", "NA", "", "null", " ", "None", "unknown", "?", "-"])
def test_no_label_is_no_class(make, text):
    folder = make(f"file,label\na.png,x\nb.png,{text}\nc.png,y\n")
    with pytest.raises(BenchError, match=r"has no label|may be a class or mean"):
        load(folder)
    raw = load(folder, allow_missing=True)
    assert (raw.classes, raw.splits["train"].id) == (("x", "y"), ["a.png", "c.png"])
    if text.strip():
        named = load(folder, classes=("x", "y", text))
        assert named.splits["train"].labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["\"['a', 'b']\"", "[]", "\"['b']\""], [[1, 1], [0, 0], [0, 1]]),
        (["a|b", "No_Finding", "b"], [[1, 1], [0, 0], [0, 1]]),
        (["a|b", "no finding", "b|b"], [[1, 1], [0, 0], [0, 1]]),
    ],
)
def test_several_labels_in_a_cell(make, cells, expected):
    rows = "".join(f"{name}.png,{cell}\n" for name, cell in zip("xyz", cells, strict=True))
    raw = load(make(f"file,label\n{rows}", "xyz"))
    assert (raw.task, raw.classes) == ("multilabel", ("a", "b"))
    assert raw.splits["train"].labels.tolist() == expected


@pytest.mark.parametrize("sign", [",", ";", "/"])
def test_other_signs_between_labels_need_a_word(make, sign):
    folder = make(f'file,label\na.png,"Effusion{sign} Mass"\nb.png,Mass\nc.png,Effusion\n')
    with pytest.raises(AmbiguousError, match=f"pass --label-separator '{sign}' or"):
        load(folder)
    for options in ({"label_separator": sign}, {"yes": True}):
        raw = load(folder, **options)
        assert (raw.task, raw.classes) == ("multilabel", ("Effusion", "Mass"))
        assert raw.splits["train"].labels.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert len(load(folder, label_separator="").classes) == 3


def test_a_finding_and_no_finding_contradict_each_other(make):
    folder = make("file,label\na.png,No Finding|Effusion\nb.png,Mass|Effusion\nc.png,No Finding\n")
    with pytest.raises(BenchError, match="row 1 says both 'No Finding' and 'Effusion'"):
        load(folder)
    raw = load(folder, allow_missing=True)
    assert raw.splits["train"].id == ["b.png", "c.png"]
    assert raw.classes == ("Effusion", "Mass")


def test_labels_that_differ_in_case_only(make):
    folder = make("file,label\na.png,Cat\nb.png,cat\nc.png,Cat \nd.png,dog\n")
    with pytest.raises(AmbiguousError, match="'Cat' and 'cat' differ in case only"):
        load(folder)
    assert load(folder, yes=True).splits["train"].labels.tolist() == [0, 0, 0, 1]
    apart = load(folder, classes=("Cat", "cat", "dog"))
    assert apart.splits["train"].labels.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "labels", [range(30, 45), [0.5, 1.5, 2.5, 1.5] * 4, [f"text {i}" for i in range(20)]]
)
def test_measurements_and_texts_are_no_classes(make, labels):
    labels = list(labels)
    rows = "".join(f"{rank}.png,{label}\n" for rank, label in enumerate(labels))
    folder = make(f"file,target\n{rows}", range(len(labels)))
    with pytest.raises(AmbiguousError, match=r"column 'target' holds \d+ different"):
        load(folder)
    assert len(load(folder, task="multiclass").classes) == len(set(labels))


# Splits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_list.txt", "test_list_NIH.txt", "Test.txt"])
@pytest.mark.parametrize("entries", ["\ufeffc.png\n", "images/c.png\r\nz.png\n", "c\n"])
def test_lists_of_test_images(make, name, entries):
    folder = make("file,label\na.png,x\nb.png,y\nc.png,y\n")
    (folder / name).write_text(entries, encoding="utf-8")
    raw = load(folder)
    assert raw.splits["test"].id == ["c.png"]
    unknown = [group for group in raw.summary.left_out if group.what == f"names in {name}"]
    assert [group.examples for group in unknown] == ([("z.png",)] if "z" in entries else [])


def test_a_list_for_every_split(make):
    folder = make("file,label\na.png,x\nb.png,y\nc.png,y\n")
    for name, entry in {"train.txt": "a.png", "valid.txt": "b.png", "test.txt": "c.png"}.items():
        (folder / name).write_text(entry)
    raw = load(folder)
    assert {name: split.id for name, split in raw.splits.items()} == {
        "train": ["a.png"], "val": ["b.png"], "test": ["c.png"],
    }  # fmt: skip


def test_a_column_of_splits_by_another_name(make):
    folder = make("file,label,phase\na.png,x,Train\nb.png,y,TESTING\nc.png,y,training\n")
    with pytest.raises(AmbiguousError, match="pass --split-column 'phase' or --ignore 'phase'"):
        load(folder)
    raw = load(folder, yes=True)
    assert raw.splits["test"].id == ["b.png"]
    assert set(load(folder, ignore=("phase",)).splits) == {"train"}


def test_two_sources_of_splits_need_a_word(make):
    folder = make("file,label,split\na.png,x,train\nb.png,y,test\nc.png,y,train\n")
    (folder / "test_list.txt").write_text("c.png\n")
    with pytest.raises(AmbiguousError, match="--split-column 'split' or --test-list FILE"):
        load(folder)
    assert load(folder, split_column="split").splits["test"].id == ["b.png"]
    listed = load(folder, test_list=folder / "test_list.txt")
    assert listed.splits["test"].id == ["c.png"]


# Messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sign", "shown"), [(";", "';'"), ("\t", "'\\t'")])
def test_other_separators_are_named_as_the_cause(make, sign, shown):
    folder = make("file,label\na.png,x\nb.png,y\n".replace(",", sign))
    with pytest.raises(AmbiguousError) as caught:
        load(folder)
    assert f"instead of commas; pass --delimiter {shown}" in str(caught.value)
    for options in ({"delimiter": sign}, {"yes": True}):
        assert load(folder, **options).splits["train"].labels.tolist() == [0, 1]


def test_several_columns_that_could_be_meant(make):
    folder = make("file,label,class\na.png,x,p\nb.png,y,p\nc.png,y,q\n")
    with pytest.raises(AmbiguousError, match="--label-column 'label' or --label-column 'class'"):
        load(folder)
    assert load(folder, label_columns=("class",)).classes == ("p", "q")
    same = make("file,label,class\na.png,0,p\nb.png,1,q\nc.png,1,q\n")
    assert load(same).classes == ("0", "1")


def test_messages_stay_short(make):
    folder = make("file,label\n" + "".join(f"{i}.png,x\n" for i in range(500)), "ab")
    with pytest.raises(BenchError, match="500 of 500 images are not under") as caught:
        load(folder)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import importers
from harness.data.importers import nih, spool
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path, work_folder
from harness.data.reader import open_dataset
from harness.data.summary import AmbiguousError
from harness.data.validate import validate
from harness.errors import BenchError

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
)
FINDINGS = ("No Finding", "Cardiomegaly|Effusion", "Hernia", "No Finding", "Mass", "Nodule|Mass")
PATIENTS, FILMS = 12, 3


def pixels(number: int, side: int = 16) -> np.ndarray:
    """A grey picture of its own for each number: uint8 (side, side)."""
    return np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture
def x_rays(tmp_path) -> Path:
    """36 radiographs of 12 patients in NIH's older layout, in twelve folders, three encodings."""
    root = tmp_path / "x-rays"
    lines = [f"{HEADER},OriginalImage[Width,Height],"]
    lists: dict[str, list[str]] = {"train_val_list.txt": [], "test_list.txt": []}
    for number in range(PATIENTS * FILMS):
        patient, radiograph = divmod(number, FILMS)
        name = f"{patient + 1:08}_{radiograph:03}.png"
        folder = root / f"images_{patient % 12 + 1:03}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        mode = ("L", "RGB", "RGBA")[number % 3]
        Image.fromarray(pixels(number)).convert(mode).save(folder / name)
        view = "AP" if radiograph == 2 else "PA"
        lines.append(
            f"{name},{FINDINGS[number % 6]},{radiograph},{patient + 1},50,F,{view},16,16,0.1,0.1,"
        )
        lists["test_list.txt" if patient >= 9 else "train_val_list.txt"].append(name)
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    for file, names in lists.items():
        (root / file).write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def take(x_rays, tmp_path):
    """Import the radiographs; keywords are options. Gives the path of the file."""

    def run(**options) -> Path:
        out = tmp_path / "out" / "x.h5"
        return import_path(x_rays, "x", out, options=ImportOptions(**options))

    return run


def radiographs(path: Path):
    """(images, labels, group) of each radiograph by its name."""
    with open_dataset(path) as file:
        readers = [file.split(name) for name in ("train", "val", "test")]
        return {
            name: (image, labels, int(group))
            for reader in readers
            for name, image, labels, group in zip(
                reader.id, reader.all_images(), reader.labels, reader.group, strict=True
            )
        }


def test_nihs_layout(x_rays, take):
    for path in (x_rays, x_rays / "Data_Entry_2017.csv"):
        assert importers.recognise(path).NAME == "nih"
    path = take()
    found = radiographs(path)
    assert len(found) == 36
    with open_dataset(path) as file:
        assert (file.task, file.classes) == ("multilabel", nih.LABELS)
        assert file.sizes == {"train": 24, "val": 3, "test": 9}
        assert file.image_shape == (1, 16, 16)
        assert file.split_rule == (
            "test as in NIH's test_list.txt; taken from train by group: val 3 (0.1); PCG64 seed 0"
        )
        assert "Wang et al." in file.license
        assert [entry["file"] for entry in file.source] == [
            "Data_Entry_2017.csv", "test_list.txt", "train_val_list.txt", "x-rays/",
        ]  # fmt: skip
        official = (x_rays / "test_list.txt").read_text().split()
        assert sorted(file.split("test").id) == official
    for number in range(36):
        image, labels, group = found[f"{number // 3 + 1:08}_{number % 3:03}.png"]
        np.testing.assert_array_equal(image[0], pixels(number))
        assert group == number // 3 + 1
        expected = set(FINDINGS[number % 6].split("|")) - {"No Finding"}
        assert {nih.LABELS[i] for i in np.flatnonzero(labels)} == expected
    assert not [problem for problem in validate(path) if problem.severity == "error"]
    assert not work_folder(path).exists()


def test_any_finding_or_none(take):
    path = take(task="binary")
    with open_dataset(path) as file:
        assert (file.task, file.classes) == ("multiclass", ("No Finding", "Finding"))
        assert file.class_counts("test").tolist() == [3, 6]
    assert radiographs(path)["00000001_000.png"][1] == 0
    assert radiographs(path)["00000001_001.png"][1] == 1


def test_sizes_are_those_of_pillow(take):
    found = radiographs(take(size=(7, 5)))
    for number in (0, 1, 2):
        expected = Image.fromarray(pixels(number)).resize((5, 7), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(found[f"00000001_{number:03}.png"][0][0], expected)


def test_views_and_the_first_rows(take):
    path = take(views=("AP",), limit=11)
    assert all(name.endswith("_002.png") for name in radiographs(path))
    with open_dataset(path) as file:
        assert sum(file.sizes.values()) == 11
        assert "views AP; the first 11" in file.source[-1]["note"]


def test_without_lists_test_images_are_split_off_by_patient(x_rays, take):
    for name in ("test_list.txt", "train_val_list.txt"):
        (x_rays / name).unlink()
    path = take()
    with open_dataset(path) as file:
        assert file.split_rule.startswith("no official list; taken from train by group: test")
        groups = [set(file.split(name).group.tolist()) for name in file.sizes]
        assert sum(map(len, groups)) == len(set().union(*groups)) == PATIENTS


def test_one_list_is_enough(x_rays, take):
    (x_rays / "test_list.txt").unlink()
    with open_dataset(take()) as file:
        assert file.sizes["test"] == 9
        assert "NIH's train_val_list.txt" in file.split_rule


def test_the_newer_table_and_one_folder(x_rays, take):
    text = (x_rays / "Data_Entry_2017.csv").read_text()
    (x_rays / "Data_Entry_2017.csv").unlink()
    (x_rays / "Data_Entry_2017_v2020.csv").write_text(text)
    before = radiographs(take())
    (x_rays / "images").mkdir()
    for file in list(x_rays.glob("images_*/images/*")):
        file.rename(x_rays / "images" / file.name)
    after = radiographs(take())
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Finding Labels", "Findings", "no column 'Finding Labels'"),
        ("|Effusion", "|Effusions", "line 3: 'Effusions' is none of NIH's 14 labels"),
        (",0,1,50", ",0,one,50", "line 2: Patient ID 'one' is not a number"),
        (",Hernia,2,1,50,F,AP,16,16,0.1,0.1,", "", "line 4: only 1 values"),
        ("00000001_001.png", "00000001_000.png", "stands in two rows"),
    ],
)
def test_unusable_tables(x_rays, take, old, new, expected):
    table = x_rays / "Data_Entry_2017.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    with pytest.raises(BenchError, match=expected) as caught:
        take()
    assert str(table) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task": "multiclass"}, "multilabel .14 labels. or binary"),
        ({"views": ("LATERAL",)}, "--views 'LATERAL': must be of PA, AP"),
        ({"limit": 0}, "--limit 0: must be at least 1"),
        ({"limit": 5}, "leaves no test images among the 5 that were chosen"),
        ({"layout": "nchw"}, "--layout: does not apply"),
    ],
)
def test_unusable_options(take, options, expected):
    with pytest.raises(BenchError, match=expected):
        take(**options)


def test_lists_that_contradict_each_other(x_rays, take):
    with (x_rays / "test_list.txt").open("a") as stream:
        stream.write("00000001_000.png\n")
    with pytest.raises(BenchError, match=r"1 image is in both test_list.txt and train_val"):
        take()
    (x_rays / "test_list.txt").write_text("00000012_000.png\n")
    with pytest.raises(BenchError, match=r"8 images are in neither test_list.txt nor"):
        take()


def test_missing_images_are_counted_and_refused(x_rays, take, tmp_path):
    gone = sorted(x_rays.glob("images_*/images/*"))[:7]
    for file in gone:
        file.unlink()
    with pytest.raises(BenchError) as caught:
        take()
    assert "7 of 36 images are missing (00000001_000.png, " in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    assert not (tmp_path / "out").exists()
    path = take(allow_missing=True)
    assert len(radiographs(path)) == 29
    with open_dataset(path) as file:
        assert "left out 7 missing (00000001_000.png, " in file.source[-1]["note"]


def test_no_image_at_all(x_rays, take):
    for file in x_rays.glob("images_*/images/*"):
        file.unlink()
    with pytest.raises(BenchError, match="not one of the 36 images"):
        take(allow_missing=True)


def test_broken_images_are_counted_and_refused(x_rays, take):
    first, second, *_ = sorted(x_rays.glob("images_*/images/*"))
    first.write_bytes(b"no picture")
    second.write_bytes(second.read_bytes()[:60])
    with pytest.raises(BenchError) as caught:
        take(size=(8, 8))
    message = str(caught.value)
    assert "2 of 36 image files are broken (00000001_000.png: not an image, 0000" in message
    assert "\n" not in message
    path = take(size=(8, 8), allow_missing=True)
    assert len(radiographs(path)) == 34
    with open_dataset(path) as file:
        assert "left out 2 broken" in file.source[-1]["note"]
    Image.fromarray(pixels(0)).save(first)
    Image.fromarray(pixels(1)).save(second)
    assert len(radiographs(take(size=(8, 8)))) == 36


def test_images_of_two_sizes_need_a_word(x_rays, take):
    last = sorted(x_rays.glob("images_*/images/*"))[-1]
    Image.fromarray(pixels(0, 20)).save(last)
    with pytest.raises(BenchError, match=r"20x20 \(HxW\), but others are 16x16; pass --size"):
        take()


def test_equal_images_give_equal_bytes(take):
    first = take(size=(8, 8))
    content = first.read_bytes()
    first.unlink()
    assert take(size=(8, 8)).read_bytes() == content


def counting(monkeypatch, fail_after: int | None = None):
    """Count decoded images; after so many, the person presses Ctrl-C."""
    seen: list[str] = []
    lock = threading.Lock()
    real = nih.read_grey

    def read_grey(path, content, size, intensity=None):
        with lock:
            if fail_after is not None and len(seen) >= fail_after:
                raise KeyboardInterrupt
            seen.append(path.name)
        return real(path, content, size, intensity)

    monkeypatch.setattr(nih, "read_grey", read_grey)
    return seen


def test_an_interrupted_import_goes_on(x_rays, take, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "_TASK", 2)
    whole = take().read_bytes()
    (tmp_path / "out" / "x.h5").unlink()
    with monkeypatch.context() as patch:
        counting(patch, fail_after=20)
        with pytest.raises(KeyboardInterrupt):
            take()
    work = work_folder(tmp_path / "out" / "x.h5")
    assert (work / "pixels").is_file()
    with pytest.raises(BenchError, match="interrupted import that differs in shape;"):
        take(size=(8, 8))
    again = counting(monkeypatch)
    assert take().read_bytes() == whole
    assert len(again) == 16  # of 36
    assert not work.exists()


def test_files_that_changed_meanwhile_are_decoded_again(x_rays, take, tmp_path, monkeypatch):
    last = sorted(x_rays.glob("images_*/images/*"))[-1]
    good = last.read_bytes()
    last.write_bytes(b"broken")
    with pytest.raises(BenchError):
        take()
    first = sorted(x_rays.glob("images_*/images/*"))[0]
    Image.fromarray(pixels(99)).save(first)
    last.write_bytes(good)
    again = counting(monkeypatch)
    found = radiographs(take())
    assert sorted(again) == [first.name, last.name]
    np.testing.assert_array_equal(found[first.name][0][0], pixels(99))


def test_one_import_at_a_time(take, tmp_path):
    work = work_folder(tmp_path / "out" / "x.h5")
    with (
        spool._opened(work, {}),
        pytest.raises(BenchError, match="another import is at work here"),
    ):
        take()


def test_a_full_disk_is_seen_before_the_work(take, monkeypatch):
    state = type("State", (), {"f_bavail": 1, "f_frsize": 4096})
    monkeypatch.setattr(spool.os, "statvfs", lambda _path: state)
    with pytest.raises(
        BenchError,
        match=r"no space left: 0.0 GiB are needed, 0.0 GiB are free; pass a smaller --size",
    ):
        take()


def test_a_spool_hides_from_git(x_rays, take, tmp_path):
    sorted(x_rays.glob("images_*/images/*"))[0].write_bytes(b"broken")
    with pytest.raises(BenchError):
        take()
    work = work_folder(tmp_path / "out" / "x.h5")
    assert (work / ".gitignore").read_text() == "*\n"
    assert json.loads((work / "job.json").read_text())["format"] == "nih"


def test_damaged_files_never_crash_the_reader(tmp_path):
    image = np.kron(np.arange(256, dtype=np.uint8).reshape(16, 16), np.ones((3, 3), np.uint8))
    Image.fromarray(image).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(300):
        damaged = bytearray(content[: int(rng.integers(1, len(content) + 1))])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = int(rng.integers(0, 256))
        try:
            pixels = nih.read_grey(tmp_path / "a.png", bytes(damaged), (8, 8))
        except BenchError as error:
            assert "broken image file" in str(error)  # noqa: PT017
        else:
            assert pixels.shape == (8, 8)


def test_real_nih_x_rays(nih1000, tmp_path):
    assert importers.recognise(nih1000).NAME == "nih"
    path = import_path(nih1000, "nih", tmp_path / "nih.h5")
    with (nih1000 / "Data_Entry_2017_v2020.csv").open(newline="") as stream:
        rows = {row["Image Index"]: row for row in csv.DictReader(stream)}
    counts = Counter(label for row in rows.values() for label in row["Finding Labels"].split("|"))
    with open_dataset(path) as file:
        assert file.classes == nih.LABELS
        assert file.image_shape == (1, 64, 64)
        assert file.sizes == {"train": 749, "val": 82, "test": 169}
        total = sum(file.class_counts(name) for name in file.sizes)
        assert total.tolist() == [counts[name] for name in nih.LABELS]
        official = (nih1000 / "test_list.txt").read_text().split()
        assert sorted(file.split("test").id) == sorted(official)
        patients = [set(file.split(name).group.tolist()) for name in file.sizes]
        assert sum(map(len, patients)) == len(set().union(*patients)) == 264
        listed = "".join(
            f"{hashlib.sha256((nih1000 / 'images' / name).read_bytes()).hexdigest()}  {name}\n"
            for name in rows
        )
        assert file.source[-1]["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    for name, (image, labels, patient) in radiographs(path).items():
        found = set(rows[name]["Finding Labels"].split("|")) - {"No Finding"}
        assert {nih.LABELS[i] for i in np.flatnonzero(labels)} == found
        assert patient == int(rows[name]["Patient ID"])
        original = np.asarray(Image.open(nih1000 / "images" / name))
        np.testing.assert_array_equal(image[0], original[..., 0])


def test_the_copy_at_224_pixels(x_rays, take):
    """Its folder is images-224/images-224/, and its lists have NIH at their end."""
    (x_rays / "images-224" / "images-224").mkdir(parents=True)
    for file in list(x_rays.glob("images_*/images/*")):
        file.rename(x_rays / "images-224" / "images-224" / file.name)
    for name in ("test_list", "train_val_list"):
        (x_rays / f"{name}.txt").rename(x_rays / f"{name}_NIH.txt")
    with open_dataset(take()) as file:
        assert file.sizes == {"train": 24, "val": 3, "test": 9}
        assert "test as in NIH's test_list_NIH.txt" in file.split_rule


def test_a_byte_order_mark_moves_no_image(x_rays, take):
    for name in ("test_list.txt", "train_val_list.txt"):
        text = (x_rays / name).read_text()
        (x_rays / name).write_text(text.replace("\n", "\r\n"), encoding="utf-8-sig")
    with open_dataset(take()) as file:
        assert file.sizes["test"] == 9


def test_names_in_lists_without_a_row_are_reported(x_rays, take):
    with (x_rays / "test_list.txt").open("a") as stream:
        stream.write("00000099_000.png\n")
    with open_dataset(take()) as file:
        (group,) = [g for g in file.summary.left_out if g.what == "names in test_list.txt"]
    assert group.examples == ("00000099_000.png",)


def test_a_finding_and_no_finding_contradict_each_other(x_rays, take):
    table = x_rays / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace(",Hernia,", ",No Finding|Hernia,", 1))
    with pytest.raises(BenchError, match=r"line 4: 'No Finding\|Hernia' says both"):
        take()
    path = take(allow_missing=True)
    assert len(radiographs(path)) == 35


def test_a_wrong_layout_says_where_was_searched(x_rays, take):
    (x_rays / "pictures").mkdir()
    for file in list(x_rays.glob("images_*/images/*")):
        file.rename(x_rays / "pictures" / file.name)
    with pytest.raises(BenchError) as caught:
        take()
    message = str(caught.value)
    assert "not one of the 36 images" in message
    assert "images_001/, " in message
    assert f"36 of them are in {x_rays / 'pictures'}/: move that folder" in message


def test_one_image_in_two_folders_needs_a_word(x_rays, take):
    (x_rays / "images-224").mkdir()
    Image.fromarray(pixels(99)).save(x_rays / "images-224" / "00000001_000.png")
    with pytest.raises(AmbiguousError, match=r"1 image is in two folders .*--ignore FOLDER"):
        take()
    found = radiographs(take(ignore=("images-224",)))["00000001_000.png"][0]
    np.testing.assert_array_equal(found[0], pixels(0))


def test_16_bits_need_a_word(x_rays, take):
    for number, file in enumerate(sorted(x_rays.glob("images_*/images/*"))):
        Image.fromarray(pixels(number).astype(np.uint16) * 16).save(file)
    with pytest.raises(AmbiguousError, match=r"stored with 16 bits.* pass --bit-depth"):
        take()
    found = radiographs(take(bit_depth=12))
    np.testing.assert_array_equal(found["00000001_001.png"][0][0], pixels(1))


def test_pipes_and_broken_links_are_missing_images(x_rays, take):
    first, second, *_ = sorted(x_rays.glob("images_*/images/*"))
    first.unlink()
    os.mkfifo(first)
    second.unlink()
    second.symlink_to(x_rays / "nowhere")
    with pytest.raises(BenchError, match="2 of 36 images are missing"):
        take()
    path = take(allow_missing=True)
    with open_dataset(path) as file:
        assert file.summary.found == {"rows": 36, "image files": 34}
        assert file.summary.used == {"rows": 34, "images": 34}

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from harness.data import importers
from harness.data.importers import folder
from harness.data.importers.naming import natural
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.data.reader import open_dataset
from harness.data.summary import AmbiguousError
from harness.errors import BenchError


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def grey(value, shape=(5, 4)):
    return (np.arange(shape[0] * shape[1]) + value).astype(np.uint8).reshape(shape)


@pytest.fixture
def pets(tmp_path):
    for i in range(3):
        save(tmp_path / "pets" / "cat" / f"{i}.png", grey(i))
        save(tmp_path / "pets" / "ant" / f"{i}.png", grey(100 + i))
    return tmp_path / "pets"


def test_a_folder_per_class(pets):
    (pets / "cat" / "Thumbs.db").write_text("not an image")
    (pets / ".hidden").mkdir()
    assert importers.recognise(pets).NAME == "folder"
    raw = folder.load(pets, ImportOptions())
    train = raw.splits["train"]
    assert raw.classes == ("ant", "cat")
    assert train.id == [f"{name}/{i}.png" for name in ("ant", "cat") for i in range(3)]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(train.images[4, 0], grey(1))


def test_split_folders(tmp_path):
    for split in ("train", "validation", "test"):
        for name in ("x", "y"):
            save(tmp_path / split / name / "1.png", grey(len(split)))
    assert importers.recognise(tmp_path).NAME == "folder"
    raw = folder.load(tmp_path, ImportOptions())
    assert set(raw.splits) == {"train", "val", "test"}
    assert raw.splits["val"].id == ["validation/x/1.png", "validation/y/1.png"]
    np.testing.assert_array_equal(raw.splits["test"].images[1, 0], grey(4))
    save(tmp_path / "test" / "z" / "1.png", grey(0))
    with pytest.raises(BenchError, match="z: a class that is not in"):
        folder.load(tmp_path, ImportOptions())


def test_the_source_entry_sees_every_change(pets):
    before = folder.load(pets, ImportOptions()).source
    assert before == folder.load(pets, ImportOptions()).source
    assert before[0]["file"] == "pets/"
    save(pets / "cat" / "2.png", grey(50))
    assert folder.load(pets, ImportOptions()).source != before


def test_class_names_are_replaced_in_order(pets):
    assert folder.load(pets, ImportOptions(classes=("A", "C"))).classes == ("A", "C")
    with pytest.raises(BenchError, match="1 class name was given for 2 classes \\(ant, cat\\)"):
        folder.load(pets, ImportOptions(classes=("A",)))


def test_an_empty_class(pets):
    (pets / "dog").mkdir()
    with pytest.raises(BenchError, match="dog: no images in this class folder"):
        folder.load(pets, ImportOptions())


def test_one_class_is_not_enough(tmp_path):
    save(tmp_path / "cat" / "1.png", grey(0))
    with pytest.raises(BenchError, match=r"1 class folders \(cat\); expected 2 to 256"):
        folder.load(tmp_path, ImportOptions())


def test_two_sizes_name_two_files(pets):
    odd = save(pets / "cat" / "1.png", grey(1, (7, 9)))
    with pytest.raises(BenchError) as caught:
        folder.load(pets, ImportOptions())
    assert str(caught.value) == (
        f"{odd}: 7x9 (HxW), but {pets / 'ant' / '0.png'} is 5x4; "
        "pass --size HxW to bring all to one size"
    )
    raw = folder.load(pets, ImportOptions(size=(6, 3)))
    assert raw.splits["train"].images.shape == (6, 1, 6, 3)
    assert "resized to 6x3, bilinear, antialiased" in raw.source[0]["note"]


def test_broken_images_are_named_together(pets):
    broken = pets / "cat" / "1.png"
    whole = broken.read_bytes()
    (pets / "ant" / "2.png").write_bytes(b"text")
    for content in (b"", b"not an image", whole[:40], whole[: len(whole) - 20]):
        broken.write_bytes(content)
        with pytest.raises(BenchError, match="2 of 6 image files are broken") as caught:
            folder.load(pets, ImportOptions())
        message = str(caught.value)
        assert "ant/2.png: not an image, cat/1.png: " in message
        assert "--allow-missing" in message
        assert "\n" not in message
    raw = folder.load(pets, ImportOptions(allow_missing=True))
    assert raw.splits["train"].id == ["ant/0.png", "ant/1.png", "cat/0.png", "cat/2.png"]
    assert raw.splits["train"].labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(raw.splits["train"].images[3, 0], grey(2))
    assert [(group.reason, group.count) for group in raw.summary.left_out] == [("broken", 2)]


# Splits, nesting, and what is left out ----------------------------------------------------------


def fill(root, *folders, start=0):
    for number, name in enumerate(folders, start):
        for i in range(2):
            save(root / name / f"{i}.png", grey(10 * number + i))


def ids(raw):
    return {name: split.id for name, split in raw.splits.items()}


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    fill(tmp_path, *map(str, range(12)))
    raw = folder.load(tmp_path, ImportOptions())
    assert raw.classes == tuple(map(str, range(12)))
    np.testing.assert_array_equal(raw.splits["train"].images[22, 0], grey(110))
    assert raw.splits["train"].labels[22] == 11


def test_the_same_names_order_the_classes(pets):
    raw = folder.load(pets, ImportOptions(classes=("cat", "ant")))
    assert raw.classes == ("cat", "ant")
    assert [name.split("/")[0] for name in raw.splits["train"].id] == ["cat"] * 3 + ["ant"] * 3
    np.testing.assert_array_equal(raw.splits["train"].images[0, 0], grey(0))
    with pytest.raises(BenchError, match="--classes names 'cat' and classes that are not there"):
        folder.load(pets, ImportOptions(classes=("cat", "dog")))
    renamed = folder.load(pets, ImportOptions(classes=("A", "C")))
    assert "classes are renamed: ant is A, cat is C" in renamed.summary.decisions


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "train_set", "training-data"])
@pytest.mark.parametrize(("val", "test"), [("Valid", "Test"), ("validation_set", "testing")])
def test_usual_names_of_splits(tmp_path, train, val, test):
    fill(tmp_path, *(f"{split}/{name}" for split in (train, val, test) for name in "xy"))
    assert importers.recognise(tmp_path).NAME == "folder"
    raw = folder.load(tmp_path, ImportOptions())
    assert {name: len(split) for name, split in raw.splits.items()} == {
        "train": 4, "val": 4, "test": 4,
    }  # fmt: skip
    np.testing.assert_array_equal(raw.splits["test"].images[0, 0], grey(40))


def test_splits_inside_the_classes(tmp_path):
    fill(tmp_path, *(f"{name}/{split}" for name in "xy" for split in ("train", "Test")))
    assert importers.recognise(tmp_path).NAME == "folder"
    raw = folder.load(tmp_path, ImportOptions())
    assert raw.classes == ("x", "y")
    assert ids(raw)["test"] == ["x/Test/0.png", "x/Test/1.png", "y/Test/0.png", "y/Test/1.png"]


def test_two_folders_for_one_split_need_a_word(tmp_path):
    fill(tmp_path, *(f"{split}/{name}" for split in ("train", "val", "valid") for name in "xy"))
    with pytest.raises(AmbiguousError, match="val/ and valid/ are both usual names of val"):
        folder.load(tmp_path, ImportOptions())
    assert len(folder.load(tmp_path, ImportOptions(yes=True)).splits["val"]) == 8
    one = folder.load(tmp_path, ImportOptions(ignore=("valid",)))
    assert len(one.splits["val"]) == 4


def test_folders_beside_the_splits_need_a_word(tmp_path):
    fill(tmp_path, *(f"{split}/{name}" for split in ("train", "test", "more") for name in "xy"))
    with pytest.raises(
        AmbiguousError, match="more/ beside the folders of the splits; pass --ignor"
    ):
        folder.load(tmp_path, ImportOptions())
    raw = folder.load(tmp_path, ImportOptions(yes=True))
    assert {name: len(split) for name, split in raw.splits.items()} == {"train": 4, "test": 4}
    (left,) = [group for group in raw.summary.left_out if group.what == "image files"]
    assert left.count == 4


def test_splits_without_training_images(tmp_path):
    fill(tmp_path, "Test/x", "Test/y", "val/x", "val/y")
    with pytest.raises(BenchError, match="there is Test/ and val/ but no train/"):
        folder.load(tmp_path, ImportOptions())


def test_folders_inside_a_class_belong_to_it(tmp_path):
    fill(tmp_path, "x", "x/monday", "y/tuesday/late", "y")
    raw = folder.load(tmp_path, ImportOptions())
    assert raw.splits["train"].labels.tolist() == [0] * 4 + [1] * 4
    assert "folders inside a class folder belong to that class" in raw.summary.decisions


def test_folders_that_recur_need_a_word(tmp_path):
    fill(tmp_path, *(f"{site}/{name}" for site in ("north", "south") for name in ("ill", "well")))
    with pytest.raises(AmbiguousError, match="--class-folders outer or --class-folders inner"):
        folder.load(tmp_path, ImportOptions())
    inner = folder.load(tmp_path, ImportOptions(class_folders="inner"))
    assert inner.classes == ("ill", "well")
    assert len(inner.splits["train"]) == 8
    assert folder.load(tmp_path, ImportOptions(yes=True)).classes == ("north", "south")


def test_images_by_other_suffixes(tmp_path):
    fill(tmp_path, "x", "y")
    (tmp_path / "x" / "0.png").rename(tmp_path / "x" / "0")
    (tmp_path / "x" / "1.png").rename(tmp_path / "x" / "1.image")
    save(tmp_path / "y" / "2.jfif", grey(3), format="JPEG")
    raw = folder.load(tmp_path, ImportOptions())
    assert raw.splits["train"].id == ["x/0", "x/1.image", "y/0.png", "y/1.png", "y/2.jfif"]


@pytest.mark.parametrize("name", ["scan.dcm", "photo.HEIC", "head.nii.gz"])
def test_images_that_cannot_be_read_are_not_dropped(pets, name):
    (pets / "cat" / name).write_bytes(b"not for Pillow")
    with pytest.raises(BenchError, match=rf"cat/{name}: .* not read; convert them to PNG"):
        folder.load(pets, ImportOptions())
    raw = folder.load(pets, ImportOptions(allow_missing=True))
    assert len(raw.splits["train"]) == 6


def test_everything_is_accounted_for(pets):
    save(pets / "stray.png", grey(0))
    (pets / "cat" / "notes.txt").write_text("text")
    (pets / "cat" / "Thumbs.db").write_bytes(b"x")
    (pets / "__MACOSX").mkdir()
    summary = folder.load(pets, ImportOptions()).summary
    assert summary.used == {"images": 6, "classes": 2}
    assert [(group.reason, group.examples) for group in summary.left_out] == [
        ("hidden, or the system's own", ("__MACOSX", "cat/Thumbs.db")),
        ("outside the class folders", ("stray.png",)),
        ("not images", ("cat/notes.txt",)),
    ]


def test_what_is_no_file_does_not_hang_the_import(pets):
    os.mkfifo(pets / "cat" / "pipe.png")
    (pets / "cat" / "gone.png").symlink_to(pets / "nowhere")
    (pets / "cat" / "folder.png").mkdir()
    with pytest.raises(BenchError) as caught:
        folder.load(pets, ImportOptions())
    message = str(caught.value)
    assert "2 of 8 image files are broken" in message
    assert "cat/gone.png: broken link" in message
    assert "cat/pipe.png: not a regular file" in message
    assert len(folder.load(pets, ImportOptions(allow_missing=True)).splits["train"]) == 6


def test_links_to_folders(pets, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "elsewhere" / "9.png", grey(9))
    (pets / "dog").symlink_to(tmp_path / "elsewhere")
    (pets / "dog" / "back").symlink_to(pets)
    raw = folder.load(pets, ImportOptions())
    assert raw.classes == ("ant", "cat", "dog")
    assert raw.splits["train"].id[-1] == "dog/9.png"


def test_names_that_are_no_text(pets, tmp_path):
    os.rename(pets / "cat" / "1.png", os.fsencode(pets) + b"/cat/\xff.png")
    os.rename(pets / "cat", os.fsencode(pets) + b"/cat\xe4")
    os.rename(pets, os.fsencode(tmp_path) + b"/\xf6")
    (root,) = tmp_path.iterdir()
    with open_dataset(import_path(root, "pets", tmp_path / "p.h5")) as file:
        names = [name for split in file.sizes for name in file.split(split).id]
        assert file.classes == ("ant", r"cat\xe4")
        assert file.source[0]["file"] == r"\xf6/"
    assert r"cat\xe4/\xff.png" in names


def test_one_folder_around_all_is_named(pets):
    with pytest.raises(BenchError, match=r"give .*pets, which looks like one \(folder\)"):
        importers.recognise(pets.parent)


def test_natural_order_of_a_name_that_begins_another():
    names = ["x10", "x", "x2", "x1y", "2", "10", "x1"]
    assert sorted(names, key=natural) == ["2", "10", "x", "x1", "x1y", "x2", "x10"]

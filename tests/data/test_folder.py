from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness.data import sources
from harness.data.sources import folder
from harness.data.sources._base import ImportOptions
from harness.data.sources._images import read_images
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
    assert sources.recognise(pets).NAME == "folder"
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
    assert sources.recognise(tmp_path).NAME == "folder"
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
    with pytest.raises(BenchError, match="1 class names were given for 2 folders \\(ant, cat\\)"):
        folder.load(pets, ImportOptions(classes=("A",)))


def test_an_empty_class(pets):
    (pets / "dog").mkdir()
    with pytest.raises(BenchError, match="dog: no images in this class folder"):
        folder.load(pets, ImportOptions())


def test_one_class_is_not_enough(tmp_path):
    save(tmp_path / "cat" / "1.png", grey(0))
    with pytest.raises(BenchError, match="1 class folders; expected 2 to 256"):
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


def test_broken_images_are_named(pets):
    broken = pets / "cat" / "1.png"
    whole = broken.read_bytes()
    for content in (b"", b"not an image", whole[:40], whole[: len(whole) - 20]):
        broken.write_bytes(content)
        with pytest.raises(BenchError, match="broken image file") as caught:
            folder.load(pets, ImportOptions())
        assert str(caught.value).startswith(f"{broken}: ")
        assert "\n" not in str(caught.value)


# Pixels ----------------------------------------------------------------------------------------

COLOUR = np.random.default_rng(2).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def test_grey_stored_as_colour_is_grey(tmp_path):
    path = save(tmp_path / "a.png", np.repeat(grey(3)[..., np.newaxis], 3, axis=2))
    images = read_images([path])
    assert images.shape == (1, 1, 5, 4)
    np.testing.assert_array_equal(images[0, 0], grey(3))


def test_one_coloured_image_makes_all_coloured(tmp_path):
    paths = [save(tmp_path / "a.png", grey(3)), save(tmp_path / "b.png", COLOUR)]
    for order in (paths, paths[::-1]):
        images = read_images(order)
        assert images.shape == (2, 3, 5, 4)
        position = order.index(paths[0])
        for channel in range(3):
            np.testing.assert_array_equal(images[position, channel], grey(3))
        np.testing.assert_array_equal(images[1 - position], COLOUR.transpose(2, 0, 1))


def test_channels_can_be_chosen(tmp_path):
    paths = [save(tmp_path / "a.png", grey(3)), save(tmp_path / "b.png", COLOUR)]
    assert read_images(paths[:1], channels=3).shape == (1, 3, 5, 4)
    luma = read_images(paths, channels=1)
    assert luma.shape == (2, 1, 5, 4)
    np.testing.assert_array_equal(luma[0, 0], grey(3))
    np.testing.assert_allclose(luma[1, 0], COLOUR @ [0.299, 0.587, 0.114], atol=1)


def test_modes_of_pixels(tmp_path):
    sixteen = (grey(0).astype(np.uint16) << 8) + 77
    bits = grey(0) % 3 == 0
    opaque = np.dstack([COLOUR, np.full((5, 4), 255, np.uint8)])
    half = np.dstack([COLOUR, np.full((5, 4), 128, np.uint8)])

    def read(path):
        return read_images([path])[0]

    np.testing.assert_array_equal(read(save(tmp_path / "16.png", sixteen))[0], grey(0))
    np.testing.assert_array_equal(read(save(tmp_path / "1.png", bits))[0], bits * 255)
    np.testing.assert_array_equal(
        read(save(tmp_path / "rgba.png", opaque)), COLOUR.transpose(2, 0, 1)
    )
    np.testing.assert_allclose(
        read(save(tmp_path / "half.png", half)), COLOUR.transpose(2, 0, 1) * (128 / 255), atol=1
    )
    palette = Image.fromarray(grey(0)).convert("P")
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read(tmp_path / "p.png")[0], grey(0))


def test_floating_point_images_are_refused(tmp_path):
    path = save(tmp_path / "f.tif", grey(0).astype(np.float32))
    with pytest.raises(BenchError, match=r"f\.tif: pixels are floats"):
        read_images([path])


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees
    path = save(tmp_path / "a.png", grey(0), exif=exif)
    np.testing.assert_array_equal(read_images([path])[0, 0], np.rot90(grey(0), k=-1))


def test_a_constant_image_keeps_its_value_when_resized(tmp_path):
    path = save(tmp_path / "a.png", np.full((9, 7), 131, np.uint8))
    assert (read_images([path], size=(4, 13)) == 131).all()

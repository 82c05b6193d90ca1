from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness.data.importers import images as reading
from harness.data.importers.intensity import Intensity
from harness.data.summary import Account, AmbiguousError
from harness.errors import BenchError


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def grey(value, shape=(5, 4)):
    return (np.arange(shape[0] * shape[1]) + value).astype(np.uint8).reshape(shape)


def read_images(paths, yes=False, **options):
    return reading.read_images(paths, Account(paths[0].parent, yes), **options).images


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
    sixteen = (grey(200).astype(np.uint16) << 8) + 77
    bits = grey(0) % 3 == 0
    opaque = np.dstack([COLOUR, np.full((5, 4), 255, np.uint8)])
    half = np.dstack([COLOUR, np.full((5, 4), 128, np.uint8)])

    def read(path):
        return read_images([path])[0]

    np.testing.assert_array_equal(
        read_images([save(tmp_path / "16.png", sixteen)])[0, 0], grey(200)
    )
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


def test_floating_point_images_need_a_window(tmp_path):
    path = save(tmp_path / "f.tif", grey(0).astype(np.float32))
    with pytest.raises(BenchError, match=r"f\.tif: pixels are floats; pass --window"):
        read_images([path])
    window = Intensity(window=(0, 38))
    np.testing.assert_array_equal(
        read_images([path], intensity=window)[0, 0],
        np.floor(grey(0).astype(float) * 255 / 38 + 0.5),
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    """Also to uncompressed TIFF, which Pillow maps into memory when it gets a path."""
    right = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.T, 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.kron(
        np.array([[0, 60], [120, 180], [240, 30]], np.uint8), np.ones((8, 8), np.uint8)
    )
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    path = save(tmp_path / f"a.{suffix}", pixels, exif=exif, **options)
    found = read_images([path])[0, 0]
    np.testing.assert_allclose(found, right[orientation](pixels), atol=2)
    assert reading.image_size(path) == found.shape


def test_a_constant_image_keeps_its_value_when_resized(tmp_path):
    path = save(tmp_path / "a.png", np.full((9, 7), 131, np.uint8))
    assert (read_images([path], size=(4, 13)) == 131).all()


# More than 8 bits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "values"),
    [
        (8, np.arange(256)),
        (10, np.arange(0, 1024, 4)),
        (12, np.arange(0, 4096, 16)),
        (14, np.arange(0, 1 << 14, 64)),
    ],
)
def test_fewer_bits_than_stored_need_a_word(tmp_path, bits, values):
    """All 256 grey levels survive, where the upper byte of 16 bits holds 1, 4, 16 or 64."""
    pixels = values.astype(np.uint16).reshape(16, 16)
    path = save(tmp_path / "a.png", pixels)
    with pytest.raises(AmbiguousError, match=rf"values up to {values[-1]}; pass --bit-depth"):
        read_images([path])
    expected = np.arange(256).reshape(16, 16)
    stated = read_images([path], intensity=Intensity(bit_depth=bits))
    np.testing.assert_array_equal(stated[0, 0], expected)
    np.testing.assert_array_equal(read_images([path], yes=True), stated)


def test_all_images_decide_on_the_bits_in_use(tmp_path):
    dark = save(tmp_path / "a.png", np.full((16, 16), 100, np.uint16))
    bright = save(tmp_path / "b.png", np.arange(0, 1 << 16, 256, dtype=np.uint16).reshape(16, 16))
    images = read_images([dark, bright])
    np.testing.assert_array_equal(images[1, 0], np.arange(256).reshape(16, 16))
    assert not images[0].any()


def test_an_upper_byte_that_hardly_varies_needs_a_word(tmp_path):
    """As signed values with an offset: a window keeps their contrast."""
    pixels = (32768 + np.arange(256, dtype=np.uint16)).reshape(16, 16)
    path = save(tmp_path / "a.tif", pixels)
    with pytest.raises(AmbiguousError, match="upper byte is almost constant"):
        read_images([path])
    window = Intensity(window=(32768, 32768 + 255))
    np.testing.assert_array_equal(
        read_images([path], intensity=window)[0, 0], np.arange(256).reshape(16, 16)
    )


def test_more_bits_than_stated_are_refused(tmp_path):
    path = save(tmp_path / "a.png", np.full((4, 4), 5000, np.uint16))
    with pytest.raises(BenchError, match="values from 5000 to 5000 do not fit --bit-depth 12"):
        read_images([path], intensity=Intensity(bit_depth=12))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bit_depth": 7}, "--bit-depth 7: must be 8 to 16"),
        ({"window": (5, 5)}, "--window 5:5: the second value must be the larger one"),
        ({"bit_depth": 8, "window": (0, 1)}, "pass one of them"),
    ],
)
def test_unusable_rules(fields, expected):
    with pytest.raises(BenchError, match=expected):
        Intensity(**fields)


def test_files_of_several_images_are_reported(tmp_path):
    frames = [Image.fromarray(grey(value)) for value in (0, 100)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    account = Account(tmp_path)
    images = reading.read_images([tmp_path / "a.tif"], account).images
    np.testing.assert_array_equal(images[0, 0], grey(0))
    assert account.warnings == ["1 file holds several images (a.tif); the first is used"]

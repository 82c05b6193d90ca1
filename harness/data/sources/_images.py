"""Image files to one uint8 array: modes, sizes and channels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from harness.errors import BenchError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
)
_BROKEN = (  # what Pillow raises on damaged files
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L")


class BrokenImageError(BenchError):
    """A file that is no image, or not a whole one; ``reason`` says what is wrong with it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: broken image file ({reason}); repair or remove it")
        self.reason = reason


def is_image(path: Path) -> bool:
    """Whether the name is that of an image that is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_images(
    paths: Sequence[Path], size: tuple[int, int] | None = None, channels: int | None = None
) -> npt.NDArray[np.uint8]:
    """All images as uint8 (N, C, H, W), C-contiguous.

    ``size`` (height, width): resize to it, bilinear with antialiasing. ``channels``: 1 converts
    colour to ITU-R 601 luma, 3 repeats grey; None gives 1 when every image is grey (also when it
    is stored as colour), else 3. An alpha channel is laid over black; 16-bit grey keeps its upper
    8 bits; the EXIF orientation is applied.

    Raises BenchError that names the file for a broken image or an unknown pixel format, and that
    names two files when images differ in size and no ``size`` is given.
    """
    result: npt.NDArray[np.uint8] | None = None
    for index, path in enumerate(paths):
        pixels = _read(path, size)  # (H, W, 1 or 3)
        if channels == 1 and pixels.shape[2] == 3:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
        planes = pixels.transpose(2, 0, 1)
        if result is None:
            depth = channels or len(planes)
            result = np.empty((len(paths), depth, *planes.shape[1:]), dtype=np.uint8)
        if planes.shape[1:] != result.shape[2:]:
            raise BenchError(
                f"{path}: {_text(planes.shape[1:])} (HxW), but {paths[0]} is "
                f"{_text(result.shape[2:])}; pass --size HxW to bring all to one size"
            )
        if len(planes) > result.shape[1]:  # the first coloured image among grey ones
            result = result.repeat(3, axis=1)
        result[index] = planes  # a grey plane spreads over three channels
    if result is None:
        raise ValueError("no images to read")
    return result


def transform_note(size: tuple[int, int] | None) -> str:
    """What :func:`read_images` did, for the file's own record; "" for nothing."""
    return "" if size is None else f"resized to {_text(size)}, bilinear, antialiased"


def _text(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _read(path: Path, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """One image as uint8 (H, W, 3), or (H, W, 1) when it is grey in whatever encoding."""
    image = _resized(_decoded(path, path), size)
    pixels = np.asarray(image, dtype=np.uint8)
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    grey = bool((pixels == pixels[..., :1]).all())
    return pixels[..., :1] if grey else pixels


def read_grey(path: Path, content: bytes, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """One image file, whose bytes are ``content``, as grey uint8 (H, W).

    As :func:`read_images` with ``channels=1``; grey that is stored as RGB or RGBA keeps its values
    exactly. Raises BrokenImageError. May run in several threads: Pillow decodes and resizes without
    holding Python's lock.
    """
    image = _decoded(path, io.BytesIO(content))
    grey = image if image.mode == "L" else image.convert("L")
    return np.asarray(_resized(grey, size), dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width as the head of the file says; BrokenImageError where it says nothing."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except _BROKEN as error:
        raise BrokenImageError(path, _reason(error)) from error


def _decoded(path: Path, source: Path | io.BytesIO) -> Image.Image:
    """The image upright, in mode L or RGB."""
    try:
        with Image.open(source) as image:
            image.load()
            if image.info:  # where EXIF and XMP lie, whatever the format
                ImageOps.exif_transpose(image, in_place=True)
            return _eight_bit(path, image)
    except _BROKEN as error:
        raise BrokenImageError(path, _reason(error)) from error


def _reason(error: BaseException) -> str:
    return "not an image" if "cannot identify" in str(error) else str(error)


def _resized(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None or (image.height, image.width) == size:
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _eight_bit(path: Path, image: Image.Image) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode in _SIXTEEN_BIT:
        upper = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(upper.astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BenchError(
            f"{path}: pixels are {'32-bit integers' if image.mode == 'I' else 'floats'}; "
            "save it as 8-bit grey or RGB first"
        )
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("RGB")

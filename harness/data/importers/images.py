"""Image files to one uint8 array: the one place where files are decoded and resized."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from harness.console import plural, progress_bar
from harness.data.importers import intensity as intensities
from harness.data.importers.intensity import Intensity
from harness.data.summary import Account, AmbiguousError, listed
from harness.errors import BenchError

SUFFIXES = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff"}
    | {".webp", ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".jpx", ".tga", ".pcx", ".avif"}
)
UNREADABLE = frozenset(  # images, but not for Pillow
    {".dcm", ".dicom", ".nii", ".mha", ".nrrd", ".heic", ".heif", ".svg", ".exr", ".jxl"}
    | {".cr2", ".nef", ".dng", ".arw", ".raw", ".svs"}
)
Image.init()  # registers all formats, of which a build of Pillow may lack some
_FORMATS = tuple(
    name
    for name in (
        *("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"),
        *("TGA", "PCX", "AVIF"),
    )
    if name in Image.OPEN
)
_BY_CONTENT = tuple(name for name in _FORMATS if name not in ("TGA", "PCX", "PPM"))  # weak magic
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
_DEEP = (*_SIXTEEN_BIT, "I", "F")  # more than 8 bits
_PAGED = ("GIF", "TIFF", "WEBP", "PNG")


class BrokenImageError(BenchError):
    """A file that is no image, or not a whole one; ``reason`` says what is wrong with it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: broken image file ({reason}); repair or remove it")
        self.reason = reason


@contextlib.contextmanager
def collecting(broken: dict[int, str], index: int) -> Iterator[None]:
    """Put what is wrong with image file number ``index`` into ``broken`` instead of raising it."""
    try:
        yield
    except BrokenImageError as error:
        broken[index] = error.reason
    except OSError as error:
        broken[index] = error.strerror or str(error)


def size_error(path: Path, size: Sequence[int], others: str, expected: Sequence[int]) -> BenchError:
    """The error for an image of (height, width) ``size`` among ``others`` of another size."""
    return BenchError(
        f"{path}: {_text(size)} (HxW), but {others} {_text(expected)}; pass --size HxW to bring "
        "all to one size"
    )


def is_image(path: Path) -> bool:
    """Whether the name is that of an image that is not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def looks_like_image(path: Path) -> bool:
    """Whether the content of a regular file begins as that of an image, whatever its name."""
    try:
        with Image.open(path, formats=_BY_CONTENT):
            return True
    except _BROKEN:
        return False


@dataclass(frozen=True)
class ImageFiles:
    """Decoded image files.

    ``images`` uint8 (K, C, H, W), C-contiguous; ``kept`` (K,): their indices among the files;
    ``digests`` K: SHA-256 of each file; ``broken``: what is wrong with each of the others.
    """

    images: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.intp]
    digests: list[str]
    broken: dict[int, str]


def read_images(
    paths: Sequence[Path],
    account: Account,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    intensity: Intensity | None = None,
) -> ImageFiles:
    """All images as uint8 (N, C, H, W).

    ``size`` (height, width): resize to it, bilinear with antialiasing. ``channels``: 1 converts
    colour to ITU-R 601 luma, 3 repeats grey; None gives 1 when every image is grey (also when it
    is stored as colour), else 3. An alpha channel is laid over black; the EXIF orientation is
    applied. ``intensity`` says how grey of more than 8 bits becomes 8 bits; without it the values
    of all 16-bit images decide, see :func:`harness.data.importers.intensity.choose`.

    Raises BenchError that names two files when images differ in size and no ``size`` is given, and
    when no file is an image.
    """
    result: npt.NDArray[np.uint8] | None = None
    digests: list[str] = []
    kept: list[int] = []
    broken: dict[int, str] = {}
    seen = _Seen()
    intensity = intensity or Intensity()
    with progress_bar("decoding", len(paths)) as advance:
        for index, path in enumerate(paths):
            advance(1)
            with collecting(broken, index):
                content = path.read_bytes()
                try:
                    pixels = _read(path, content, size, intensity, seen)
                except _UndecidedError:
                    intensity = _survey(paths[index:], account)
                    pixels = _read(path, content, size, intensity, seen)
            if index in broken:
                continue
            if channels == 1 and pixels.shape[2] == 3:
                pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
            planes = pixels.transpose(2, 0, 1)  # from (H, W, 1 or 3)
            if result is None:
                depth = channels or len(planes)
                result = np.empty((len(paths), depth, *planes.shape[1:]), dtype=np.uint8)
            if planes.shape[1:] != result.shape[2:]:
                raise size_error(path, planes.shape[1:], f"{paths[kept[0]]} is", result.shape[2:])
            if len(planes) > result.shape[1]:  # the first coloured image among grey ones
                result = result.repeat(3, axis=1)
            result[len(kept)] = planes  # a grey plane spreads over three channels
            kept.append(index)
            digests.append(hashlib.sha256(content).hexdigest())
    if result is None:
        reasons = listed(f"{paths[index]}: {reason}" for index, reason in broken.items())
        raise BenchError(
            f"{account.where}: every one of the {len(paths)} image files is broken ({reasons})"
        )
    seen.tell(account)
    return ImageFiles(result[: len(kept)], np.array(kept, dtype=np.intp), digests, broken)


@dataclass
class _Seen:
    """What is said once of all images. ``deep_colour``: colour of 16 bits a channel."""

    paged: list[str] = field(default_factory=list)
    deep_colour: set[Path] = field(default_factory=set)
    deep_colour_top: int = 0

    def tell(self, account: Account) -> None:
        if self.paged:
            names = listed(self.paged)
            account.warn(
                f"{plural(len(self.paged), 'file', 'holds')} several images ({names}); "
                "the first is used"
            )
        if self.deep_colour:
            count = len(self.deep_colour)
            if self.deep_colour_top < 64:  # of 14 bits, none is among the upper 8 at full contrast
                raise BenchError(
                    f"{account.where}: {plural(count, 'colour image', 'is')} stored with 16 "
                    "bits a channel, of which only the lower ones are in use "
                    f"({listed(sorted(self.deep_colour))}); save with 8 bits"
                )
            account.decide(
                f"{plural(count, 'colour image')} with 16 bits a channel: the upper 8 are kept"
            )


def transform_note(size: tuple[int, int] | None, intensity: Intensity | None = None) -> str:
    """What :func:`read_images` did, for the file's own record; "" for nothing."""
    parts = [] if size is None else [f"resized to {_text(size)}, bilinear, antialiased"]
    if intensity is not None and intensity.note:
        parts.append(intensity.note)
    return "; ".join(parts)


def _text(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _read(
    path: Path,
    content: bytes,
    size: tuple[int, int] | None,
    intensity: Intensity,
    seen: _Seen,
) -> npt.NDArray[np.uint8]:
    """One image as uint8 (H, W, 3), or (H, W, 1) when it is grey in whatever encoding."""
    image = _eight_bit(path, _decoded(path, content, seen), intensity, seen)
    pixels = np.asarray(_resized(image, size), dtype=np.uint8)
    if pixels.ndim == 2:
        return pixels[..., np.newaxis]
    grey = bool((pixels == pixels[..., :1]).all())
    return pixels[..., :1] if grey else pixels


def read_grey(
    path: Path,
    content: bytes,
    size: tuple[int, int] | None,
    intensity: Intensity | None = None,
) -> npt.NDArray[np.uint8]:
    """One image file, whose bytes are ``content``, as grey uint8 (H, W).

    As :func:`read_images` with ``channels=1``; grey that is stored as RGB or RGBA keeps its values
    exactly. Raises BrokenImageError, and AmbiguousError for more than 8 bits without an
    ``intensity``. May run in several threads: Pillow decodes and resizes without holding Python's
    lock.
    """
    try:
        image = _eight_bit(path, _decoded(path, content), intensity or Intensity())
    except _UndecidedError:
        raise AmbiguousError(
            f"{path}: stored with 16 bits, of which any number may be in use; "
            f"pass {intensities.OPTIONS}"
        ) from None
    grey = image if image.mode == "L" else image.convert("L")
    return np.asarray(_resized(grey, size), dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of the image upright; BrokenImageError where it cannot be decoded."""
    try:
        image = _decoded(path, path.read_bytes())
    except OSError as error:
        raise BrokenImageError(path, error.strerror or str(error)) from error
    return image.height, image.width


def _decoded(path: Path, content: bytes, seen: _Seen | None = None) -> Image.Image:
    """The image upright, in whatever mode.

    From bytes, never from a path: Pillow maps uncompressed files into memory, and turning such an
    image by its EXIF orientation scrambles it.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if seen is not None:
                if image.format in _PAGED and getattr(image, "n_frames", 1) > 1:
                    seen.paged.append(path.name)
                if image.mode not in _DEEP and any(";16" in str(tile[3]) for tile in image.tile):
                    seen.deep_colour.add(path)
            image.load()
            if image.info:  # where EXIF and XMP lie, whatever the format
                ImageOps.exif_transpose(image, in_place=True)
            return image
    except _BROKEN as error:
        raise BrokenImageError(path, _reason(error)) from error


def _reason(error: BaseException) -> str:
    return "not an image" if "cannot identify" in str(error) else str(error)


def _resized(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None or (image.height, image.width) == size:
        return image
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


class _UndecidedError(Exception):
    """An image of 16 bits, and no rule yet for all of them."""


def _survey(paths: Sequence[Path], account: Account) -> Intensity:
    """The rule for all 16-bit images among ``paths``, from all of their values."""
    counts = np.zeros(1 << 16, dtype=np.int64)
    deep = 0
    for path in paths:
        try:
            with Image.open(path, formats=_FORMATS) as image:
                if image.mode not in (*_SIXTEEN_BIT, "I"):
                    continue
            values = np.asarray(_decoded(path, path.read_bytes()))
        except (*_BROKEN, BrokenImageError):
            continue  # reported when all images are read
        values = _sixteen_bits(path, values)
        counts += np.bincount(values.ravel(), minlength=1 << 16)
        deep += 1
    if deep < len(paths):
        account.warn(
            f"{deep} of {len(paths)} images {'is' if deep == 1 else 'are'} stored with 16 bits, "
            "the others with 8"
        )
    return intensities.choose(counts, plural(deep, "image"), account)


def _sixteen_bits(path: Path, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise BenchError(f"{path}: values from {low} to {high}; pass --window LOW:HIGH")
    return values.astype(np.uint16)


def _eight_bit(
    path: Path, image: Image.Image, intensity: Intensity, seen: _Seen | None = None
) -> Image.Image:
    """The image in mode L or RGB."""
    if seen is not None and path in seen.deep_colour:
        seen.deep_colour_top = max(seen.deep_colour_top, int(np.asarray(image).max()))
    if image.mode in _DEEP:
        values = np.asarray(image)
        if intensity.window is None:
            if image.mode == "F":
                raise BenchError(f"{path}: pixels are floats; pass --window LOW:HIGH")
            values = _sixteen_bits(path, values)
            if not intensity.given:
                raise _UndecidedError
        return Image.fromarray(intensity.apply(path, values))
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("RGB")

"""IDX files: MNIST and its relatives, gzip or not.

A pair is ``train-images-idx3-ubyte[.gz]`` with ``train-labels-idx1-ubyte[.gz]``; the test pair
begins with ``t10k`` or ``test``. A prefix before that (``emnist-letters-train-...``) is allowed.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.hdf5 import Split
from harness.data.sources._base import ImportOptions, RawDataset, named_classes
from harness.errors import BenchError

NAME = "idx"
DESCRIPTION = "a folder with train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]"
USES = frozenset({"classes"})
_IMAGES = re.compile(r"(?P<prefix>.*?)(?P<split>train|t10k|test)-images[.-]idx3-ubyte(\.gz)?")
_MAGIC = {3: 0x00000803, 1: 0x00000801}
_KIND = {3: "images", 1: "labels"}


def recognises(path: Path) -> bool:
    """A folder with a file of IDX images in it, or such a file."""
    if path.is_dir():
        return any(_IMAGES.fullmatch(entry.name) for entry in path.iterdir())
    return _IMAGES.fullmatch(path.name) is not None


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read the train pair, and the test pair where there is one.

    ``path`` is the folder, or the file of training images where a folder holds several sets.
    """
    folder, prefix = _locate(path)
    splits: dict[str, Split] = {}
    source: list[dict[str, str]] = []
    for split, stems in {"train": ("train",), "test": ("t10k", "test")}.items():
        files = _pair(folder, prefix, stems)
        if files is None:
            continue
        images, image_entry = read_idx(files[0], 3)
        labels, label_entry = read_idx(files[1], 1)
        if len(images) != len(labels):
            raise BenchError(
                f"{files[1]}: {len(labels)} labels, but {files[0].name} holds {len(images)} images"
            )
        splits[split] = Split(np.ascontiguousarray(images[:, np.newaxis]), labels)
        source += [image_entry, label_entry]
    if "train" not in splits:
        raise BenchError(f"{folder}: no {prefix}train-images-idx3-ubyte[.gz] in this folder")
    highest = max(int(split.labels.max(initial=0)) for split in splits.values())
    return RawDataset("multiclass", named_classes(path, highest, options.classes), splits, source)


def _locate(path: Path) -> tuple[Path, str]:
    """The folder and the prefix of the one set that ``path`` means."""
    if not path.is_dir():
        match = _IMAGES.fullmatch(path.name)
        if match is None:
            raise BenchError(f"{path}: not the name of an IDX file of images")
        return path.parent, match["prefix"]
    matches = [_IMAGES.fullmatch(entry.name) for entry in path.iterdir()]
    prefixes = sorted({match["prefix"] for match in matches if match})
    if not prefixes:
        raise BenchError(f"{path}: no train-images-idx3-ubyte[.gz] in this folder")
    if len(prefixes) > 1:
        raise BenchError(
            f"{path}: holds several sets ({', '.join(repr(p) for p in prefixes)}); "
            "give the path of the training images of one"
        )
    return path, prefixes[0]


def _pair(folder: Path, prefix: str, stems: tuple[str, ...]) -> tuple[Path, Path] | None:
    """The files of images and labels of one split, or None when there are no images."""
    found: list[Path | None] = []
    for kind, rank in (("images", 3), ("labels", 1)):
        candidates = [
            folder / f"{prefix}{stem}-{kind}{joint}idx{rank}-ubyte{suffix}"
            for stem in stems
            for joint in "-."
            for suffix in ("", ".gz")
        ]
        found.append(next((path for path in candidates if path.is_file()), None))
    images, labels = found
    if images is None:
        return None
    if labels is None:
        raise BenchError(f"{images}: its labels are missing (expected beside it: {candidates[0]})")
    return images, labels


def read_idx(path: Path, rank: int) -> tuple[npt.NDArray[np.uint8], dict[str, str]]:
    """Read one IDX file of unsigned bytes with ``rank`` dimensions, and its source entry.

    The checksum in the entry is of the unpacked bytes: it does not depend on who packed them.
    Raises BenchError for a wrong magic number, a wrong number of dimensions, a payload that is
    too short or too long, or a damaged gzip stream.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BenchError(
            f"{path}: truncated or damaged gzip file ({error}); get it again"
        ) from error
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    header = 4 + 4 * rank
    magic = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and magic != _MAGIC[rank]:
        raise BenchError(
            f"{path}: magic number is {magic:#010x}, expected {_MAGIC[rank]:#010x} "
            f"(IDX {_KIND[rank]} as unsigned bytes)"
        )
    if len(content) < header:
        raise BenchError(f"{path}: {len(content)} bytes are too few for an IDX file; get it again")
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    expected = int(np.prod([int(side) for side in shape], dtype=object))
    payload = len(content) - header
    if payload != expected:
        wrong = "truncated" if payload < expected else "too long"
        raise BenchError(
            f"{path}: {wrong}: {payload} bytes of data, but its header says "
            f"{' x '.join(map(str, shape))} = {expected}; get it again"
        )
    values = np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
    if 0 in shape:
        raise BenchError(f"{path}: holds no {_KIND[rank]} (its header says {shape})")
    entry = {
        "file": path.name.removesuffix(".gz"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return values, entry

"""IDX files: MNIST and its relatives, gzip or not.

A pair is ``train-images-idx3-ubyte[.gz]`` with ``train-labels-idx1-ubyte[.gz]``; the test pair
begins with ``t10k`` or ``test``. A prefix before that (``emnist-letters-train-...``) is allowed.

EMNIST stores its images transposed, and the labels of its letters count from 1: both are known by
the name of the files.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
import zlib
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import numpy.typing as npt

from harness.console import plural
from harness.data.importers.base import RawDataset, class_numbers
from harness.data.importers.files import is_ignored, read_list
from harness.data.importers.options import ImportOptions
from harness.data.schema import Split
from harness.data.summary import Account, listed
from harness.errors import BenchError

NAME = "idx"
DESCRIPTION = "a folder with train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]"
USES = frozenset({"classes", "first_label", "transpose", "ignore"})
_IMAGES = re.compile(
    r"(?P<prefix>.*?)(?P<split>train|t10k|test|val|valid|validation)-images[.-]idx3-ubyte(\.gz)?"
)
_STEMS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("t10k", "test"),
}
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
    account = options.account(path)
    folder, prefix = _locate(path)
    transpose = _transposed(prefix, options, account)
    images: dict[str, npt.NDArray[np.uint8]] = {}
    labels: dict[str, npt.NDArray[np.uint8]] = {}
    source: list[dict[str, str]] = []
    read: set[Path] = set()
    for split, stems in _STEMS.items():
        files = _pair(folder, prefix, stems)
        if files is None:
            continue
        read |= set(files)
        pixels, image_entry = read_idx(files[0], 3)
        labels[split], label_entry = read_idx(files[1], 1)
        if len(pixels) != len(labels[split]):
            raise BenchError(
                f"{files[1]}: {len(labels[split])} labels, "
                f"but {files[0].name} holds {len(pixels)} images"
            )
        if transpose:
            pixels = pixels.transpose(0, 2, 1)
        images[split] = np.ascontiguousarray(pixels[:, np.newaxis])
        source += [image_entry, label_entry]
    if "train" not in images:
        raise BenchError(f"{folder}: no {prefix}train-images-idx3-ubyte[.gz] in this folder")
    labels, classes, mapping = _classes(folder, prefix, labels, options, account)
    _account_for(folder, read | mapping, options, account)
    account.used["images"] = sum(map(len, images.values()))
    return RawDataset(
        "multiclass",
        classes,
        {split: Split(images[split], labels[split]) for split in images},
        source,
        summary=account.summary(),
    )


def _transposed(prefix: str, options: ImportOptions, account: Account) -> bool:
    if options.transpose is not None:
        account.decide("height and width are " + ("swapped" if options.transpose else "kept"))
        return options.transpose
    if prefix.casefold().startswith("emnist"):
        account.decide("EMNIST stores its images transposed: height and width are swapped")
        return True
    return False


def _classes(
    folder: Path,
    prefix: str,
    labels: dict[str, npt.NDArray[np.uint8]],
    options: ImportOptions,
    account: Account,
) -> tuple[dict[str, npt.NDArray[np.uint8]], tuple[str, ...], set[Path]]:
    """Labels from 0, the names of the classes, and the mapping file of EMNIST where it is used."""
    first, names = options.first_label, options.classes
    mapping = folder / f"{prefix}mapping.txt"
    used: set[Path] = set()
    if prefix.casefold().startswith("emnist-letters"):
        first = 1 if first is None else first
        names = names or (tuple(ascii_uppercase) if first == 1 else None)
        account.decide(f"labels of EMNIST's letters count from {first}")
    elif prefix.casefold().startswith("emnist") and names is None and mapping.is_file():
        names, used = _mapped(mapping), {mapping}
        account.decide(f"names of the classes as in {mapping.name}")
    options = dataclasses.replace(options, first_label=first, classes=names)
    return *class_numbers(labels, options, account), used


def _mapped(mapping: Path) -> tuple[str, ...]:
    """The characters of EMNIST's mapping: a label and its ASCII code on each line, from 0."""
    try:
        codes: dict[int, int] = {}
        for line in read_list(mapping):
            label, code = line.split()[:2]
            codes[int(label)] = int(code)
        return tuple(chr(codes[label]) for label in range(len(codes)))
    except (KeyError, ValueError) as error:
        raise BenchError(f"{mapping}: not a mapping of labels to ASCII codes ({error})") from error


def _account_for(folder: Path, read: set[Path], options: ImportOptions, account: Account) -> None:
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    account.found["files"] = len(files)
    account.used["files"] = len(read)
    rest = [name for name in files if folder / name not in read]
    ignored = [name for name in rest if is_ignored(name, options.ignore)]
    account.leave_out("files", "--ignore", ignored)
    account.leave_out("files", "of another set, or no IDX files", sorted(set(rest) - set(ignored)))
    packed = {path.name.removesuffix(".gz") for path in read}
    sets = [
        name
        for name in rest
        if name not in ignored
        and _IMAGES.fullmatch(name)
        and name.removesuffix(".gz") not in packed
    ]
    if sets:
        account.warn(f"images of other sets lie in this folder: {listed(sets)}")


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
        raise BenchError(
            f"{path}: {plural(len(content), 'byte', 'is')} too few for an IDX file; get it again"
        )
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    expected = int(np.prod([int(side) for side in shape], dtype=object))
    payload = len(content) - header
    if payload != expected:
        wrong = "truncated" if payload < expected else "too long"
        raise BenchError(
            f"{path}: {wrong}: {payload} bytes of data, but its header says "
            f"{' x '.join(map(str, shape))} = {expected}; get it again"
        )
    if 0 in shape:  # the other sides may then be larger than any array can be
        raise BenchError(f"{path}: holds no {_KIND[rank]} (its header says {shape})")
    values = np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
    entry = {
        "file": path.name.removesuffix(".gz"),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return values, entry

"""NumPy archives: images and labels under the usual names.

Keys: ``x_train, y_train, x_test, y_test`` (``x_val``, ``X_valid`` too), ``train_images,
train_labels, val_images, ...`` (MedMNIST), or ``images, labels`` for one set; case and underscores
do not count. Images are (N, H, W), (N, H, W, C) or (N, C, H, W); labels are class numbers (N,) or
(N, 1), or 0/1 columns (N, L). An array of patients, ``train_patients`` or the like, is (N,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from harness.console import plural
from harness.data.importers import intensity as intensities
from harness.data.importers import naming
from harness.data.importers.base import (
    RawDataset,
    check_not_a_measurement,
    class_numbers,
    stored_task,
    whole_numbers,
)
from harness.data.importers.files import is_ignored
from harness.data.importers.labels import Labels
from harness.data.importers.options import ImportOptions
from harness.data.npz_archive import read_arrays
from harness.data.schema import SPLITS, Split, Task
from harness.data.summary import Account, listed
from harness.errors import BenchError
from harness.files import file_sha256

NAME = "npz"
DESCRIPTION = "a .npz file with images/labels, x_train/y_train or train_images/train_labels"
USES = frozenset(
    {"layout", "task", "classes", "first_label", "bit_depth", "window"}
    | {"group_column", "no_group", "ignore"}
)
_ROLES = {
    "images": ("images", "image", "imgs", "img", "x", "data", "pixels"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "group": naming.GROUP,
}
_EXPECTED = "x_train/y_train, train_images/train_labels or images/labels"
_CHANNELS = (1, 3)

Array = npt.NDArray[np.generic]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class _Keys:
    """The arrays of one split."""

    images: str
    labels: str
    group: str | None


def recognises(path: Path) -> bool:
    """A file that ends in .npz."""
    return path.suffix.lower() == ".npz" and path.is_file()


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read all splits of the archive. Pickled objects are refused: they could run code.

    Raises:
        BenchError: arrays that do not fit together, a layout that gives no channels.
        AmbiguousError: two arrays for one part of a split, an array that looks like patients.
    """
    account = options.account(path)
    arrays = _read(path, options, account)
    scheme = _scheme(path, arrays, options, account)
    images = _images(path, arrays, scheme, options, account)
    labels: dict[str, npt.NDArray[np.uint8]] = {}
    for name, keys in scheme.items():
        values = _column(arrays[keys.labels])
        if len(values) != len(images[name]):
            raise BenchError(
                f"{path}: {keys.labels}: {len(values)} labels for {len(images[name])} images"
            )
        labels[name] = whole_numbers(f"{path}: {keys.labels}", values, "labels")
    task, labels, classes = _task(path, labels, options, account)
    groups = _groups(path, arrays, scheme, images, account)
    account.used["images"] = sum(map(len, images.values()))
    return RawDataset(
        task=task,
        classes=classes,
        splits={name: Split(images[name], labels[name], groups.get(name)) for name in images},
        source=[_entry(path, options)],
        split_note="" if list(scheme) == ["train"] else f"arrays {_names_of(scheme)}",
        summary=account.summary(),
    )


def _column(values: Array) -> Array:
    """(N, 1) as (N,); others as they are."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _entry(path: Path, options: ImportOptions) -> dict[str, str]:
    entry = {"file": path.name, "sha256": file_sha256(path)}
    return entry | ({"note": options.intensity.note} if options.intensity.note else {})


def _names_of(scheme: Mapping[str, _Keys]) -> str:
    return listed(keys.images for keys in scheme.values())


def _read(path: Path, options: ImportOptions, account: Account) -> dict[str, Array]:
    """The arrays that may be of use; the account gets the names of the others."""
    names: list[str] = []

    def wanted(name: str) -> bool:
        names.append(name)
        return not is_ignored(name, options.ignore) and (
            _role(name) is not None
            or naming.names_identifier(_without_split(name))
            or _without_split(name) == naming.normal(options.group_column or "")
        )

    arrays = read_arrays(path, wanted)
    for key, array in arrays.items():
        if array.ndim == 0:
            raise BenchError(f"{path}: {key}: a single value, expected one for each image")
    account.found["arrays"] = len(names)
    ignored = [name for name in names if is_ignored(name, options.ignore)]
    account.leave_out("arrays", "--ignore", sorted(ignored))
    account.leave_out("arrays", "not needed", sorted(set(names) - set(ignored) - set(arrays)))
    return arrays


def _role(key: str) -> tuple[str, str] | None:
    """What an array holds, and of which split ("" for one set), by its name."""
    name = naming.normal(key)
    for role, words in _ROLES.items():
        if name in words:
            return role, ""
        for word in words:
            rest = name.removeprefix(word) if name.startswith(word) else name.removesuffix(word)
            if rest != name and (split := naming.split_of(rest)):
                return role, split
    return None


def _scheme(
    path: Path, arrays: Mapping[str, Array], options: ImportOptions, account: Account
) -> dict[str, _Keys]:
    """The arrays of each split that the archive has."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in sorted(arrays):
        if role := _role(key):
            found.setdefault(role, []).append(key)
    if any(split for role, split in found if role == "images"):
        for key in found.pop(("images", ""), []):
            account.choose(
                f"array {key!r} beside arrays of images of the splits",
                f"--ignore {key}",
                "left out",
            )
    else:
        for part in _ROLES:
            if (part, "") in found:
                found[part, "train"] = found.pop((part, ""))
    for (part, split), several in found.items():
        if len(several) > 1:
            account.choose(
                f"arrays {listed(map(repr, several))} could each be the {part} of {split or 'all'}",
                f"--ignore {several[1]}",
                f"{several[0]} is used",
            )
    if ("images", "train") not in found:
        there = listed(sorted(arrays), limit=20) or "nothing"
        raise BenchError(
            f"{path}: no training images under a known name; expected {_EXPECTED}, there is {there}"
        )
    scheme: dict[str, _Keys] = {}
    for split in SPLITS:
        if ("images", split) not in found:
            continue
        image_key = found["images", split][0]
        if ("labels", split) not in found:
            expected = image_key.replace("images", "labels").replace("x", "y").replace("X", "y")
            raise BenchError(f"{path}: holds {image_key} but not {expected}")
        of_group = found.get(("group", split))
        group = of_group[0] if of_group else None
        scheme[split] = _Keys(image_key, found["labels", split][0], group)
    scheme = _with_groups(path, arrays, scheme, options, account)
    used = {key for keys in scheme.values() for key in (keys.images, keys.labels, keys.group)}
    account.used["arrays"] = len(used - {None})
    account.leave_out("arrays", "not used", [key for key in sorted(arrays) if key not in used])
    for split, keys in scheme.items():
        account.decide(f"/{split}: {keys.images} with {keys.labels}")
    return scheme


def _with_groups(
    path: Path,
    arrays: Mapping[str, Array],
    scheme: dict[str, _Keys],
    options: ImportOptions,
    account: Account,
) -> dict[str, _Keys]:
    """The scheme with the arrays that say whom an image is of, as asked for or found."""
    if options.no_group:
        account.decide("no array says whom an image is of (--no-group)")
        return {name: _Keys(keys.images, keys.labels, None) for name, keys in scheme.items()}
    asked = options.group_column
    if asked is None:
        if not any(keys.group for keys in scheme.values()):
            asked = _perhaps_group(arrays, scheme, account)
        if asked is None:
            return scheme
    of_split = {
        split: key
        for split in scheme
        for key in sorted(arrays)
        if key == asked or (_without_split(key) == naming.normal(asked) and _of(key) == split)
    }
    if asked in arrays and len(scheme) == 1:
        of_split = {"train": asked}
    if of_split.keys() != scheme.keys() or (len(scheme) > 1 and asked in of_split.values()):
        raise BenchError(
            f"{path}: --group-column {asked!r}: expected an array of that name for each split, "
            f"such as train_{asked}; there are {listed(sorted(arrays), limit=20)}"
        )
    return {name: _Keys(each.images, each.labels, of_split[name]) for name, each in scheme.items()}


def _perhaps_group(
    arrays: Mapping[str, Array],
    scheme: Mapping[str, _Keys],
    account: Account,
) -> str | None:
    """An array that nothing uses, with a repeated identifier for each training image."""
    taken = {key for keys in scheme.values() for key in (keys.images, keys.labels)}
    count = len(arrays[scheme["train"].images])
    for key in sorted(arrays):
        values, name = _column(arrays[key]), _without_split(key)
        if key in taken or values.shape != (count,):
            continue
        if naming.looks_like_identifier(name, list(map(str, values))):
            account.choose(
                f"array {key!r} has repeated values and looks like an identifier; images of one "
                "patient must stay in one split",
                f"--group-column {name} or --no-group",
                f"--group-column {name}",
            )
            return key if len(scheme) == 1 else name
    return None


def _of(key: str) -> str | None:
    """The split in the name of an array, at its beginning or end."""
    words = _words(key)
    return next((split for word in (words[0], words[-1]) if (split := naming.split_of(word))), None)


def _without_split(key: str) -> str:
    return naming.normal("".join(word for word in _words(key) if naming.split_of(word) is None))


def _words(key: str) -> list[str]:
    return key.replace("-", "_").split("_") or [key]


def _groups(
    path: Path,
    arrays: Mapping[str, Array],
    scheme: Mapping[str, _Keys],
    images: Mapping[str, npt.NDArray[np.uint8]],
    account: Account,
) -> dict[str, npt.NDArray[np.int64]]:
    """Group numbers of each split, int64 (N,), by one numbering for all."""
    keys = {name: each.group for name, each in scheme.items()}
    if not any(keys.values()):
        return {}
    texts: list[str] = []
    for name, key in keys.items():
        if key is None:
            raise BenchError(
                f"{path}: no array says whom an image of {name} is of, although one of another "
                "split does; add it, or pass --no-group"
            )
        values = _column(arrays[key])
        if values.shape != (len(images[name]),):
            raise BenchError(f"{path}: {key}: shape {values.shape} for {len(images[name])} images")
        texts += [
            each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else str(each)
            for each in values.tolist()
        ]
    numbers, unknown = naming.groups(texts)
    if numbers is None:
        account.warn(f"array {next(iter(keys.values()))!r} holds no identifier")
        return {}
    if unknown:
        account.warn(
            f"{plural(len(unknown), 'image', 'has')} no group: each counts as a group of its own"
        )
    account.decide(f"all images of one value of {listed(keys.values())} stay in one split")
    return _divided(numbers, {name: len(images[name]) for name in keys})


def _images(
    path: Path,
    arrays: Mapping[str, Array],
    scheme: Mapping[str, _Keys],
    options: ImportOptions,
    account: Account,
) -> dict[str, npt.NDArray[np.uint8]]:
    """The images of each split, uint8 (N, C, H, W), by one rule for values beyond 8 bits."""
    layouts = {
        name: _nchw(f"{path}: {keys.images}", arrays[keys.images], options.layout)
        for name, keys in scheme.items()
    }
    intensity = options.intensity
    deep = [each for each in layouts.values() if each.dtype.kind in "iu" and each.dtype != np.uint8]
    if not intensity.given and any(each.size and each.max() > 255 for each in deep):
        whole = [each for each in deep if each.size and each.min() >= 0 and each.max() < 1 << 16]
        if len(whole) == len(deep):
            counts = sum(np.bincount(each.ravel(), minlength=1 << 16) for each in whole)
            intensity = intensities.choose(np.asarray(counts), "arrays of images", account)
    images: dict[str, npt.NDArray[np.uint8]] = {}
    for name, keys in scheme.items():
        where, values = f"{path}: {keys.images}", layouts[name]
        if intensity.given and values.dtype != np.uint8:
            values = intensity.apply(where, values)
        images[name] = np.ascontiguousarray(whole_numbers(where, values, "pixels"))
    return images


def _nchw(where: str, images: Array, layout: str | None) -> Array:
    """The images as (N, C, H, W)."""
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim != 4:
        raise BenchError(f"{where}: shape {images.shape}; expected (N,H,W), (N,H,W,C) or (N,C,H,W)")
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if layout is None:
        if first == last:
            raise BenchError(
                f"{where}: shape {images.shape} does not tell which side is the channels; "
                "pass --layout nchw or --layout nhwc"
            )
        layout = "nchw" if first else "nhwc"
    right, other = (first, last) if layout == "nchw" else (last, first)
    channels = images.shape[1 if layout == "nchw" else 3]
    if not right and (other or channels > 4):
        raise BenchError(
            f"{where}: shape {images.shape} has {channels} channels by --layout {layout}; images "
            "have 1 or 3: pass the other layout"
        )
    return images if layout == "nchw" else images.transpose(0, 3, 1, 2)


def _task(
    path: Path,
    labels: dict[str, npt.NDArray[np.uint8]],
    options: ImportOptions,
    account: Account,
) -> tuple[Task, dict[str, npt.NDArray[np.uint8]], tuple[str, ...]]:
    """Task, labels in its form, and the names of the classes."""
    asked = stored_task(path, options.task)
    shapes = {values.shape[1:] for values in labels.values()}
    if len(shapes) > 1 or any(len(shape) > 1 for shape in shapes):
        raise BenchError(f"{path}: labels of shapes that do not fit together or the schema")
    columns = shapes.pop()
    whole = np.concatenate(list(labels.values()))
    if not columns:
        if asked == "multilabel":
            raise BenchError(f"{path}: task multilabel needs labels of shape (N, L), not (N,)")
        check_not_a_measurement(whole, "the array of labels", options, account)
        numbers, classes = class_numbers(labels, options, account)
        return "multiclass", numbers, classes
    if (whole > 1).any():
        raise BenchError(f"{path}: label columns hold values other than 0 and 1")
    if options.first_label is not None:
        raise BenchError(f"{path}: --first-label is for class numbers, not for columns of 0 and 1")
    classes = options.classes or tuple(map(str, range(columns[0])))
    if len(classes) != columns[0]:
        raise BenchError(
            f"{path}: {plural(len(classes), 'class name', 'was')} given for "
            f"{plural(columns[0], 'column')} of labels"
        )
    found = Labels.of_columns(whole, classes, asked, account)
    parts = _divided(found.values, {name: len(values) for name, values in labels.items()})
    return found.task, parts, classes


def _divided(whole: npt.NDArray[T], sizes: Mapping[str, int]) -> dict[str, npt.NDArray[T]]:
    """An array of all splits, (N, ...), as one for each; ``sizes`` in the order of the rows."""
    ends = np.cumsum(list(sizes.values()))[:-1]
    return dict(zip(sizes, np.split(whole, ends), strict=True))

"""NumPy archives: images and labels under the usual names.

Keys: ``x_train, y_train, x_test, y_test`` (Keras; ``x_val`` too), ``train_images, train_labels,
val_images, ...`` (MedMNIST), or ``images, labels`` for one set. Images are (N, H, W),
(N, H, W, C) or (N, C, H, W); labels are class numbers (N,) or (N, 1), or 0/1 columns (N, L).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.hdf5 import Split, Task, file_sha256
from harness.data.npz_archive import read_arrays
from harness.data.sources._base import (
    ImportOptions,
    RawDataset,
    named_classes,
    stored_task,
    whole_numbers,
)
from harness.errors import BenchError

NAME = "npz"
DESCRIPTION = "a .npz file with images/labels, x_train/y_train or train_images/train_labels"
USES = frozenset({"layout", "task", "classes"})
_KEYS = (
    {name: (f"{name}_images", f"{name}_labels") for name in ("train", "val", "test")},
    {name: (f"x_{name}", f"y_{name}") for name in ("train", "val", "test")},
    {"train": ("images", "labels")},
)
_CHANNELS = (1, 3)

Array = npt.NDArray[np.generic]


def recognises(path: Path) -> bool:
    """A file that ends in .npz."""
    return path.suffix.lower() == ".npz" and path.is_file()


def load(path: Path, options: ImportOptions) -> RawDataset:
    """Read all splits of the archive. Pickled objects are refused: they could run code."""
    arrays = _read(path)
    images: dict[str, npt.NDArray[np.uint8]] = {}
    labels: dict[str, npt.NDArray[np.uint8]] = {}
    for name, (image_key, label_key) in _scheme(path, arrays).items():
        where = f"{path}: {image_key}"
        pixels = arrays[image_key]
        images[name] = np.ascontiguousarray(
            whole_numbers(where, _nchw(where, pixels, options.layout), "pixels")
        )
        values = arrays[label_key]
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        labels[name] = whole_numbers(f"{path}: {label_key}", values, "labels")
        if len(values) != len(pixels):
            raise BenchError(f"{path}: {label_key}: {len(values)} labels for {len(pixels)} images")
    task, labels, count = _task(path, labels, stored_task(path, options.task))
    return RawDataset(
        task=task,
        classes=named_classes(path, count - 1, options.classes),
        splits={name: Split(images[name], labels[name]) for name in images},
        source=[{"file": path.name, "sha256": file_sha256(path)}],
    )


def _read(path: Path) -> dict[str, Array]:
    wanted = {key for scheme in _KEYS for pair in scheme.values() for key in pair}
    arrays = read_arrays(path, wanted.__contains__)
    for key, array in arrays.items():
        if array.ndim == 0:
            raise BenchError(f"{path}: {key}: a single value, expected one for each image")
    return arrays


def _scheme(path: Path, arrays: Mapping[str, Array]) -> dict[str, tuple[str, str]]:
    """The keys of images and labels of each split that the archive has."""
    for scheme in _KEYS:
        if scheme["train"][0] not in arrays:
            continue
        found = {name: keys for name, keys in scheme.items() if keys[0] in arrays}
        for image_key, label_key in found.values():
            if label_key not in arrays:
                raise BenchError(f"{path}: holds {image_key} but not {label_key}")
        return found
    expected = " or ".join("/".join(scheme["train"]) for scheme in _KEYS)
    raise BenchError(f"{path}: no training images under a known name; expected {expected}")


def _nchw(where: str, images: Array, layout: str | None) -> Array:
    """The images as (N, C, H, W)."""
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim != 4:
        raise BenchError(f"{where}: shape {images.shape}; expected (N,H,W), (N,H,W,C) or (N,C,H,W)")
    if layout is None:
        first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
        if first == last:
            raise BenchError(
                f"{where}: shape {images.shape} does not tell which side is the channels; "
                "pass --layout nchw or --layout nhwc"
            )
        layout = "nchw" if first else "nhwc"
    return images if layout == "nchw" else images.transpose(0, 3, 1, 2)


def _task(
    path: Path, labels: dict[str, npt.NDArray[np.uint8]], asked: Task | None
) -> tuple[Task, dict[str, npt.NDArray[np.uint8]], int]:
    """Task, labels in its form, and the number of classes."""
    shapes = {values.shape[1:] for values in labels.values()}
    if len(shapes) > 1 or any(len(shape) > 1 for shape in shapes):
        raise BenchError(f"{path}: labels of shapes that do not fit together or the schema")
    columns = shapes.pop()
    if not columns:
        if asked == "multilabel":
            raise BenchError(f"{path}: task multilabel needs labels of shape (N, L), not (N,)")
        return "multiclass", labels, max(int(values.max()) for values in labels.values()) + 1
    if any((values > 1).any() for values in labels.values()):
        raise BenchError(f"{path}: label columns hold values other than 0 and 1")
    one_hot = all((values.sum(axis=1) == 1).all() for values in labels.values())
    if asked is None and one_hot:
        raise BenchError(
            f"{path}: every row of the labels has exactly one 1; pass --task multiclass (classes) "
            "or --task multilabel (independent labels)"
        )
    if asked == "multiclass":
        if not one_hot:
            raise BenchError(f"{path}: task multiclass, but a row of the labels has not one 1")
        classes = {name: values.argmax(axis=1) for name, values in labels.items()}
        return "multiclass", {k: v.astype(np.uint8) for k, v in classes.items()}, columns[0]
    return "multilabel", labels, columns[0]

"""Faults of what goes into a network: pixels, examples, labels, learning rates, augmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.reference.images import augment
from harness.reference.tape import Array

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Rows = NDArray[np.int64]
Parameters = NDArray[np.int64]
Rates = NDArray[np.float64]

# Of pixels from 0 to 255, mean and deviation (C, 1, 1).
PIXELS: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "not divided by 255": lambda x, mean, std: (x - mean) / std,
    "mean not subtracted": lambda x, mean, std: x / 255 / std,
    "std not applied": lambda x, mean, std: x / 255 - mean,
    "neither mean nor std": lambda x, mean, std: x / 255,
    "divided by the variance": lambda x, mean, std: (x / 255 - mean) / std**2,
    "minus one to one": lambda x, mean, std: x / 127.5 - 1,
    "mean before 255": lambda x, mean, std: (x - mean) / std / 255,
    "divided by 256": lambda x, mean, std: (x / 256 - mean) / std,
    "rows and columns swapped": lambda x, mean, std: ((x / 255 - mean) / std).swapaxes(2, 3),
    "mirrored": lambda x, mean, std: ((x / 255 - mean) / std)[:, :, :, ::-1],
    "upside down": lambda x, mean, std: ((x / 255 - mean) / std)[:, :, ::-1],
    "channels reversed": lambda x, mean, std: ((x / 255 - mean) / std)[:, ::-1],
}
# Of indices of examples, and how many there are.
ROWS: Mapping[str, Callable[[Rows, int], Rows]] = {
    "rows one too far": lambda rows, count: np.minimum(rows + 1, count - 1),
    "rows one too low": lambda rows, count: np.maximum(rows - 1, 0),
    "first rows": lambda rows, count: np.arange(rows.shape[-1]) + np.zeros_like(rows),
}
# Of labels, and how many classes there are.
LABELS: Mapping[str, Callable[[Labels, int], Labels]] = {
    "labels one up": lambda y, classes: (
        (y.astype(int) + 1) % classes if y.ndim == 1 else np.roll(y, 1, axis=1)
    ),
    "labels one down": lambda y, classes: (
        (y.astype(int) - 1) % classes if y.ndim == 1 else np.roll(y, -1, axis=1)
    ),
    "labels of the neighbour": lambda y, classes: np.roll(y, -1, axis=0),
    "labels backwards": lambda y, classes: y[::-1],
}
# Of the learning rates of a call, and the setting's own.
RATES: Mapping[str, Callable[[Rates, float], Rates]] = {
    "rate one step late": lambda rates, peak: np.concatenate([rates[:1], rates[:-1]]),
    "rate one step early": lambda rates, peak: np.concatenate([rates[1:], rates[-1:]]),
    "first rate throughout": lambda rates, peak: np.full_like(rates, rates[0]),
    "last rate throughout": lambda rates, peak: np.full_like(rates, rates[-1]),
    "peak throughout": lambda rates, peak: np.full_like(rates, peak),
    "rates backwards": lambda rates, peak: rates[::-1],
    "rates in half precision": lambda rates, peak: rates.astype(np.float16).astype(np.float64),
    "rates in single precision": lambda rates, peak: rates.astype(np.float32).astype(np.float64),
}
ORDER: Mapping[str, Callable[[Rows], Rows]] = {
    "order of the file": lambda order: np.arange(order.size).reshape(order.shape),
    "first batch throughout": lambda order: np.broadcast_to(order[0], order.shape),
    "batches backwards": lambda order: order[::-1],
    "batches cut otherwise": lambda order: order.ravel().reshape(order.shape[::-1]).T,
    "first batch left out": lambda order: np.concatenate([order[1:], order[-1:]]),
}


def without(parameters: Parameters, *columns: int) -> Parameters:
    parameters = parameters.copy()
    parameters[..., list(columns)] = 0
    return parameters


# Of the parameters (flip, down, right) of the images of a batch.
AUGMENTATION: Mapping[str, Callable[[Parameters], Parameters]] = {
    "not moved": lambda p: without(p, 0, 1, 2),
    "not flipped": lambda p: without(p, 0),
    "not shifted": lambda p: without(p, 1, 2),
    "shifted backwards": lambda p: p * np.array([1, -1, -1]),
    "down and right swapped": lambda p: p[..., [0, 2, 1]],
    "mirrored after the shift": lambda p: np.stack(
        [p[..., 0], p[..., 1], p[..., 2] * (1 - 2 * p[..., 0])], axis=-1
    ),
    "others mirrored": lambda p: np.stack([1 - p[..., 0], p[..., 1], p[..., 2]], axis=-1),
}


def upside_down(images: Images, parameters: Parameters) -> Images:
    turned = np.where((parameters[:, 0] == 1)[:, None, None, None], images[:, :, ::-1], images)
    return augment(turned, without(parameters, 0))


def around(images: Images, parameters: Parameters) -> Images:
    mirrored = augment(images, without(parameters, 1, 2))
    return np.stack(
        [
            np.roll(image, (down, right), (1, 2))
            for image, (_, down, right) in zip(mirrored, parameters, strict=True)
        ]
    )


def with_edge(images: Images, parameters: Parameters) -> Images:
    margin = int(np.abs(parameters[:, 1:]).max())
    height, width = images.shape[2:]
    wide = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="edge")
    return augment(wide, parameters)[:, :, margin : margin + height, margin : margin + width]


AUGMENTED: Mapping[str, Callable[[Images, Parameters], Images]] = {
    "mirrored upside down": upside_down,
    "wraps around": around,
    "edge repeated": with_edge,
}

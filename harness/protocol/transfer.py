"""Weights of an earlier training as the start of another, of the same network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.errors import BenchError
from harness.models.card import ModelCard
from harness.protocol.weights import WeightFile, Weights, initial_weights


def starting_weights(
    file: WeightFile,
    card: ModelCard,
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
) -> Weights:
    """The weights of ``file`` for the network ``card`` on images (C, H, W), float32.

    Two things may be of another shape, as after training on ImageNet: the head, whose weights are
    then drawn by the protocol from ``seed``; and the colours that the stem sees, colour kernels
    being summed for grey images (what they compute when all three colours are the same), and
    kernels for grey images spread evenly over colours.

    Raises:
        BenchError: the file is of another network, or anything else does not fit.
    """
    if file.model not in (None, card.name):
        raise BenchError(f"{file.path} holds weights of '{file.model}', not of '{card.name}'")
    parameters = card.parameters(image_shape, classes)
    drawn = initial_weights(parameters, seed)
    weights = dict(file.weights)
    head = [name for name in drawn if name.startswith(f"{card.head}.")]
    if any(name not in weights or weights[name].shape != drawn[name].shape for name in head):
        weights |= {name: drawn[name] for name in head}
    stem = f"{card.stem}.weight"
    if stem in weights:
        weights[stem] = _recolour(weights[stem], image_shape[0])
    fitting = WeightFile(path=file.path, model=file.model, weights=weights).fitting(parameters)
    return {name: np.asarray(array, np.float32) for name, array in fitting.items()}


def _recolour(kernels: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """Kernels (O, I, H, W) for images of ``channels``, where one of the two numbers is 1."""
    if kernels.ndim == 4 and channels == 1 < kernels.shape[1]:
        return np.asarray(kernels.sum(axis=1, keepdims=True))
    if kernels.ndim == 4 and kernels.shape[1] == 1 < channels:
        return np.repeat(kernels, channels, axis=1) / channels
    return kernels

"""Random streams that depend on nothing but what they are for."""

from __future__ import annotations

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A PCG64 generator for one purpose under one seed.

    Streams of different purposes are independent, so adding a parameter or an epoch changes no
    other draw. Only ``random`` and ``permutation`` are drawn from it, so that another language
    can repeat the numbers.
    """
    words: list[int] = []
    for part in purpose:
        encoded = part.encode() if isinstance(part, str) else str(part).encode()
        words += [len(encoded), *encoded]  # the length keeps ("ab", "c") apart from ("a", "bc")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))

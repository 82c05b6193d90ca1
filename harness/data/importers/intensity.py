"""From stored values to 8 bits: the one rule for image files and arrays of more than 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.data.summary import Account
from harness.errors import BenchError

OPTIONS = "--bit-depth BITS (how many bits are in use) or --window LOW:HIGH"
_DEPTHS = (8, 10, 12, 14, 16)
_FEW_LEVELS = 16  # values of the upper byte that hold nearly all pixels: hardly any contrast
_NEARLY_ALL = 0.999


@dataclass(frozen=True)
class Intensity:
    """How values become 0 to 255.

    ``bit_depth`` d: the upper 8 of d bits, ``v >> (d - 8)``. ``window`` (low, high): linear from
    low, which becomes 0, to high, which becomes 255, rounded; what is outside is clipped.
    """

    bit_depth: int | None = None
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bit_depth is not None and self.window is not None:
            raise BenchError("--bit-depth and --window: pass one of them")
        if self.bit_depth is not None and not 8 <= self.bit_depth <= 16:
            raise BenchError(f"--bit-depth {self.bit_depth}: must be 8 to 16")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise BenchError(f"--window {self.text}: the second value must be the larger one")

    @property
    def given(self) -> bool:
        return self.bit_depth is not None or self.window is not None

    @property
    def text(self) -> str:
        """The rule as on the command line, without the option's name."""
        return f"{self.bit_depth}" if self.window is None else "{:g}:{:g}".format(*self.window)

    @property
    def note(self) -> str:
        """The rule in words; "" where there is none."""
        if self.window is not None:
            return f"values {self.window[0]:g} to {self.window[1]:g} become 0 to 255 (--window)"
        if self.bit_depth is not None:
            return f"the upper 8 of {self.bit_depth} bits (--bit-depth {self.bit_depth})"
        return ""

    def apply(self, where: object, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """``values`` (any shape) as uint8; BenchError for NaN, or for more bits than stated."""
        if self.window is not None:
            low, high = self.window
            with np.errstate(invalid="ignore"):
                scaled = (values.astype(np.float64) - low) * (255 / (high - low))
            if np.isnan(scaled).any():
                raise BenchError(f"{where}: holds NaN")
            return np.floor(np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)
        if self.bit_depth is None or values.dtype.kind not in "iu":
            raise BenchError(f"{where}: values of {values.dtype}; pass --window LOW:HIGH")
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= 1 << self.bit_depth:
            raise BenchError(
                f"{where}: values from {low} to {high} do not fit --bit-depth {self.bit_depth}; "
                f"pass {OPTIONS}"
            )
        return (values.astype(np.int64) >> (self.bit_depth - 8)).astype(np.uint8)


def choose(counts: npt.NDArray[np.int64], what: str, account: Account) -> Intensity:
    """The rule for ``what`` ("3 images"), stored with 16 bits; ``counts`` (65536,) of each value.

    Values that use all 16 bits keep their upper 8. Anything else has two readings.

    Raises:
        AmbiguousError: few bits are in use, or the upper byte hardly varies.
    """
    top = int(np.flatnonzero(counts)[-1])
    depth = next(bits for bits in _DEPTHS if top < 1 << bits)
    if depth < 16:
        account.choose(
            f"{what} stored with 16 bits: values up to {top}", OPTIONS, f"--bit-depth {depth}"
        )
        return Intensity(bit_depth=depth)
    upper = np.sort(counts.reshape(256, 256).sum(axis=1))
    if upper[-_FEW_LEVELS:].sum() >= _NEARLY_ALL * counts.sum():
        values = np.flatnonzero(counts)
        account.choose(
            f"{what} stored with 16 bits: the upper byte is almost constant (values from "
            f"{values[0]} to {top}), so at most {_FEW_LEVELS} grey levels would be left",
            OPTIONS,
            "--bit-depth 16",
        )
    account.decide(f"{what} stored with 16 bits: the upper 8 bits are kept")
    return Intensity(bit_depth=16)

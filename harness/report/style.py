"""Colour, marker and dashes of every variant: the same in every report.

A family has one colour, a variant of it a shade, a marker and dashes by its position among the
variants of the family that are installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from harness.backends.spec import BackendSpec
from harness.plugins import backends, canonical

# Okabe and Ito's palette, which colour-blind readers tell apart too.
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")
UNKNOWN = "#777777"
"""Of variants that are not installed."""
SHADES = (0.0, -0.4, 0.4, -0.2, 0.6, -0.6, 0.2)
"""Of the variants of a family in order: towards black (-1) or white (1)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[tuple[float, ...], ...] = (
    (), (7, 4), (3, 3), (9, 3, 2, 3), (5, 2), (1, 2), (12, 3),
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How a variant is drawn."""

    color: str
    marker: str
    dashes: tuple[float, ...]


@cache
def style_of(framework: str) -> Style:
    """Of the variant with that name."""
    known = backends()
    spec = known.get(canonical(framework))
    if spec is None:
        return Style(UNKNOWN, "*", (2, 2))
    own = [each.name for each in known.values() if each.family.name == spec.family.name]
    index = own.index(spec.name)
    return Style(
        color=shade(_family_color(spec), SHADES[index % len(SHADES)]),
        marker=MARKERS[index % len(MARKERS)],
        dashes=DASHES[index % len(DASHES)],
    )


def _family_color(spec: BackendSpec) -> str:
    """As the family says; else one that no family says, by the order of their names."""
    if spec.family.color:
        return spec.family.color
    families = {each.family.name: each.family.color for each in backends().values()}
    free = [color for color in PALETTE if color not in families.values()] or [UNKNOWN]
    unnamed = sorted(name for name, color in families.items() if not color)
    return free[unnamed.index(spec.family.name) % len(free)]


def shade(color: str, amount: float) -> str:
    """``color`` (#RRGGBB) mixed with black (amount -1) or white (1)."""
    parts = [int(color[n : n + 2], 16) for n in (1, 3, 5)]
    end = 255 if amount > 0 else 0
    mixed = [part + (end - part) * abs(amount) for part in parts]
    return "#" + "".join(f"{round(part):02X}" for part in mixed)

"""One look for each variant, in every report, for readers who see few colours too."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from harness.plugins import backends
from harness.report.style import MARKERS, PALETTE, UNKNOWN, shade, style_of

# Linear RGB as seen without one kind of cone (Viénot, Brettel and Mollon 1999).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array([[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.0040, -0.0040, 1]]),
    "deuteranopia": np.array([[0.2928, 0.7072, 0], [0.2928, 0.7072, 0], [-0.0223, 0.0223, 1]]),
}
JUST_VISIBLE = 10.0
"""Distance in CIELAB that tells two large marks apart."""


def lab(color: str, kind: str) -> np.ndarray:
    rgb = np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(BLINDNESS[kind] @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(to_xyz @ seen / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.fixture
def sixteen(monkeypatch):
    """Four families of four variants; the last family states no colour."""
    for name in list(backends()):
        if len([n for n in backends() if backends()[n].family == backends()[name].family]) > 4:
            monkeypatch.delitem(backends(), name)
    knet = backends()["knet"]
    other = replace(knet.family, name="other", color="")
    julia = [n for n, s in backends().items() if s.family.name == "julia"]
    for number in range(4 - len(julia)):
        monkeypatch.setitem(backends(), f"k{number}", replace(knet, name=f"k{number}"))
    for number in range(4):
        name = f"o{number}"
        monkeypatch.setitem(backends(), name, replace(knet, name=name, family=other))
    style_of.cache_clear()
    yield list(backends())
    style_of.cache_clear()


@pytest.mark.parametrize("kind", BLINDNESS)
def test_sixteen_variants_are_told_apart(sixteen, kind):
    assert len(sixteen) == 16
    for one, other in combinations(sixteen, 2):
        first, second = style_of(one), style_of(other)
        distance = np.linalg.norm(lab(first.color, kind) - lab(second.color, kind))
        alike = (first.marker, first.dashes) == (second.marker, second.dashes)
        assert distance > (JUST_VISIBLE if alike else 3), (one, other, distance)


def test_a_family_has_one_colour_and_a_variant_keeps_its_own(make_run):
    assert style_of("torch").color == backends()["torch"].family.color
    assert style_of("torch").marker == MARKERS[0] != style_of("torch-compile").marker
    assert style_of("julia") == style_of("julia-reference")  # a former name
    assert style_of("nowhere installed").color == UNKNOWN
    declared = [spec.family.color for spec in backends().values() if spec.family.color]
    assert set(declared) <= set(PALETTE)


def test_shades():
    assert shade("#0072B2", 0) == "#0072B2"
    assert shade("#0072B2", -1) == "#000000"
    assert shade("#0072B2", 1) == "#FFFFFF"

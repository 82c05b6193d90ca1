"""The figure of examples as a PNG of few colours, the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from harness.analysis.examples import Examples
from harness.report.plotting import house_style

DPI = 100
PANEL = 128  # pixels a side of the figure, about
BUDGET = 170_000
"""Pixels of all panels together, before they are enlarged: what keeps the file small."""
COLORMAP = "inferno"
OPACITY = 0.75
"""Of the colour where a map is at its maximum; where it is 0 the image is seen as it is."""
GAP, HEADING, CAPTION, HEAD, FOOT = 8, 36, 22, 44, 62
LETTER = 7  # pixels that a letter takes, about


def draw(shown: Examples, columns: Sequence[str], headings: Sequence[str]) -> bytes:
    """One row an example: the image, then the image under each distinct map; a PNG.

    ``columns`` are titles of the maps, ``headings`` of the examples.
    """
    with house_style():
        figure = _figure(shown, columns, headings)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    few = (
        Image.open(buffer)
        .convert("RGB")
        .quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _figure(shown: Examples, titles: Sequence[str], headings: Sequence[str]) -> Figure:
    groups = [group[0] for group in shown.distinct]
    columns = 1 + len(groups)
    images = [_small(_rgb(image), columns * len(shown.rows)) for image in shown.images]
    height, width = (side * _enlarged(images[0]) for side in images[0].shape[:2])
    step = max(width, 96) + GAP  # narrower columns would have no room for their titles
    line = HEADING + height + CAPTION
    full = GAP + max(columns, 3) * step, HEAD + len(images) * line + FOOT
    figure = Figure(figsize=(full[0] / DPI, full[1] / DPI), dpi=DPI)

    def put(column: int, top: int, picture: NDArray[np.float64]) -> None:
        left = GAP + column * step
        box = (left / full[0], 1 - (top + height) / full[1], width / full[0], height / full[1])
        axes = figure.add_axes(box)
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()

    def write(column: float, top: int, text: str, *, size: float = 8, color: str = "black") -> None:
        x = (GAP + column * step) / full[0]
        figure.text(x, 1 - top / full[1], text, size=size, color=color, va="top")

    for column, title in enumerate(["image", *titles]):
        write(column, GAP, _wrapped(title, step))
    for place, image in enumerate(images):
        top = HEAD + place * line
        write(0, top + 4, _wrapped(headings[place], full[0] - GAP))
        put(0, top + HEADING, image)
        for column, (outcome, arrays) in enumerate(groups, start=1):
            assert arrays.example_maps is not None
            picture, fault = overlaid(image, arrays.example_maps[place])
            put(column, top + HEADING, picture)
            given = shown.probabilities[shown.cells.index((outcome, arrays))][place]
            said = "p not a number" if math.isnan(given) else f"p = {given:.3f}"
            write(column, top + HEADING + height + 2, said + fault, color="#333333")
    _legend(figure, full)
    return figure


def _legend(figure: Figure, full: tuple[int, int]) -> None:
    bar = figure.add_axes((GAP / full[0], 32 / full[1], 160 / full[0], 10 / full[1]))
    ramp = np.tile(np.linspace(0, 1, 160), (10, 1))
    bar.imshow(blend(np.full((10, 160, 3), 0.5), ramp), aspect="auto")
    bar.set_axis_off()
    notes = {
        46: "share of the map's own maximum, 0 to 1 (over mid-grey)",
        14: "p: predicted probability of what the image is shown for",
    }
    for height, text in notes.items():
        figure.text(GAP / full[0], height / full[1], text, size=7.5, va="bottom")


def overlaid(
    image: NDArray[np.float64], grid: NDArray[np.floating]
) -> tuple[NDArray[np.float64], str]:
    """``image`` (H, W, 3) under a map (h, w), and what must be said of the map."""
    if not np.isfinite(grid).all():
        return image, ", map not a number"
    top = float(grid.max())
    if top <= 0:
        return image, ", map all 0"
    height, width = image.shape[:2]
    scaled = Image.fromarray((grid / top).astype(np.float32))
    spread = np.asarray(scaled.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    return blend(image, spread.clip(0, 1)), ""


def blend(image: NDArray[np.float64], strength: NDArray[np.float64]) -> NDArray[np.float64]:
    """``image`` (H, W, 3) under colours as strong as ``strength`` (H, W), all 0 to 1."""
    color = mpl.colormaps[COLORMAP](strength)[..., :3]
    opacity = OPACITY * strength[..., None]
    return np.asarray(opacity * color + (1 - opacity) * image)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3), 0 to 1; other numbers of channels than 3 as the grey of their mean."""
    if image.shape[0] == 3:
        return np.moveaxis(image, 0, -1) / 255
    return np.repeat(image.mean(axis=0)[..., None] / 255, 3, axis=2)


def _small(image: NDArray[np.float64], panels: int) -> NDArray[np.float64]:
    """``image`` (H, W, 3) with no more pixels than its panel may have."""
    side = max(8, min(PANEL, math.isqrt(BUDGET // panels)))
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(factor * n)) for n in image.shape[:2])
    small = Image.fromarray(np.round(255 * image).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255


def _enlarged(image: NDArray[np.float64]) -> int:
    longest: int = max(image.shape[:2])
    return max(1, round(PANEL / longest))


def _wrapped(text: str, width: int) -> str:
    """Two lines of text at most, ``width`` pixels wide, that matplotlib takes for no formula."""
    lines = textwrap.wrap(text, max(8, width // LETTER), max_lines=2, placeholder=" …")
    return "\n".join(lines).replace("$", r"\$")

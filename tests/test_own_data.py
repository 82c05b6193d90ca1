"""From a person's own pictures, a folder a class, to a comparison of frameworks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from harness.results.folder import RunFolder

CLASSES = ("bar", "cross", "ring")
A_CLASS = 40


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A grey drawing of 28x28 pixels, at another place each time."""
    image = Image.new("L", (28, 28))
    pen = ImageDraw.Draw(image)
    x, y = (int(v) for v in rng.integers(10, 19, 2))
    size, ink = int(rng.integers(6, 9)), int(rng.integers(180, 256))
    if kind == "ring":
        pen.ellipse((x - size, y - size, x + size, y + size), outline=ink, width=2)
    else:
        pen.line((x - size, y, x + size, y), fill=ink, width=3)
    if kind == "cross":
        pen.line((x, y - size, x, y + size), fill=ink, width=3)
    return image


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    rng = np.random.default_rng(11)
    folder = tmp_path / "drawings"
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(A_CLASS):
            draw(kind, rng).save(folder / kind / f"{number:02}.png")
    return folder


def test_own_pictures_are_imported_trained_on_and_reported(bench, ready, drawings, tmp_path):
    frameworks = ready("torch", "jax", "knet", "julia-reference")
    data = ("--data-dir", tmp_path / "data")
    done = bench("data", "import", drawings, "--name", "mine", *data)
    assert done.returncode == 0, done.stderr
    done = bench(
        "run", "--frameworks", frameworks, "--datasets", "mine", "--models", "lenet5-relu",
        "--epochs", 12, "--batch-size", 8, "--lr", 0.02, "--accuracy-only",
        "--out", tmp_path / "run", *data,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = RunFolder.open(tmp_path / "run")
    entry = folder.manifest.datasets["mine"]
    assert entry.classes == CLASSES
    assert entry.image_shape == (1, 28, 28)
    assert entry.train + entry.val + entry.test == A_CLASS * len(CLASSES)
    results = folder.results()
    assert [result.cell.framework for result in results] == frameworks.split(",")
    for result in results:
        assert result.status == "ok"
        assert result.test.accuracy > 0.7  # chance is 1/3
        assert result.epochs[-1].loss < 0.5 * result.epochs[0].loss
    assert "mine" in (tmp_path / "run" / "report.md").read_text()

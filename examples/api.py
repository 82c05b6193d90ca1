"""The harness from Python: import pictures, compare frameworks on them, evaluate the weights.

python examples/api.py FOLDER

FOLDER receives the pictures, the data set and the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import harness

FRAMEWORKS = ("torch", "jax")


def draw_pictures(folder: Path) -> Path:
    """Noisy squares and circles, one folder a class: your own pictures in the place of these."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    shapes = {"circle": np.hypot(x, y) < 0.6, "square": np.maximum(abs(x), abs(y)) < 0.55}
    for name, shape in shapes.items():
        (folder / name).mkdir(parents=True)
        for number in range(100):
            pixels = 150.0 * np.roll(shape, random.integers(-4, 5, 2), (0, 1))
            pixels += random.normal(50, 20, pixels.shape)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                folder / name / f"{number}.png"
            )
    return folder


def main(folder: Path) -> None:
    pictures = draw_pictures(folder / "pictures")
    data = harness.import_dataset(pictures, "shapes", out=folder / "shapes.h5", license="CC0")

    run = harness.compare(
        frameworks=FRAMEWORKS,
        datasets=str(data),
        epochs=3,
        batch_size=16,
        threads=1,
        skip_unavailable=True,
        out=folder / "run",
    )
    for workload, outcome, cell in run.cells:
        print(
            f"{outcome.title}, {workload.dataset}: accuracy {cell.test.accuracy:.3f}, "
            f"{outcome.speed.value:,.0f} images/s"
        )

    first = run.manifest.cells[0]
    weights = run.folder.weights_path(first)
    names = run.manifest.experiment.frameworks
    for score in harness.evaluate(weights, dataset=str(data), frameworks=names, threads=1):
        print(f"weights of {first.framework} in {score.framework}: {score.evaluation.accuracy:.3f}")

    assert harness.load_run(folder / "run").planned == len(names)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

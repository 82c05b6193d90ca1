"""Chest X-rays: how fast radiographs are imported, and what feeding a network from the disk costs.

pytest benchmarks/bench_xrays.py --frameworks torch,jax --datasets nih-224 --models densenet121

Accuracy and throughput of the networks for X-rays are cells like any other:
``bench run --config benchmarks/xrays.toml``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from harness.config import available_cpus
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.measure.interleave import interleave
from harness.measure.replay import ReplayTimer

TIMER = ReplayTimer()
IMAGES, SIDE, SIZE, ROUNDS = 120, 1024, 224, 5


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy grey PNGs of NIH's size, about half a megabyte each as NIH's are, in its layout."""
    folder = tmp_path_factory.mktemp("radiographs")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    shade = 120 + 60 * np.cos(3 * x) * np.cos(2 * y)
    with (folder / "Data_Entry_2017.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Image Index", "Finding Labels", "Patient ID", "View Position"])
        for number in range(IMAGES):
            name = f"{number:08d}_000.png"
            pixels = shade + 3 * random.standard_normal((SIDE, SIDE))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
            table.writerow([name, "No Finding" if number % 2 else "Mass", number, "PA"])
    return folder


@pytest.mark.benchmark(timer=TIMER.seconds)
def test_import(
    radiographs: Path, tmp_path: Path, state_ratio: Callable[..., None], benchmark: BenchmarkFixture
) -> None:
    """Against Pillow alone: every file opened, decoded and resized in a thread a CPU."""
    files = sorted((radiographs / "images").iterdir())
    options = ImportOptions(size=(SIZE, SIZE))

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    def alone() -> None:
        with ThreadPoolExecutor(len(available_cpus())) as pool:
            assert sum(1 for _ in pool.map(read, files)) == IMAGES

    def whole() -> None:
        import_path(
            radiographs, "radiographs", tmp_path / "radiographs.h5", format="nih", options=options
        )

    seconds = interleave({"import": whole, "Pillow alone": alone}, rounds=ROUNDS)
    state_ratio(f"{IMAGES} radiographs to {SIZE}x{SIZE}", seconds, "import", against="Pillow alone")
    benchmark.group = "importing, seconds"
    TIMER.load(seconds["import"])
    benchmark.pedantic(TIMER.play_round, rounds=ROUNDS, iterations=1)


@pytest.mark.benchmark(timer=TIMER.seconds)
def test_feeding(
    variant: str, interleaved: Callable[..., dict[str, list[float]]], benchmark: BenchmarkFixture
) -> None:
    """An epoch of images read from HDF5 batch by batch against one of images in memory."""
    seconds = interleaved("feeding", variant, against=f"{variant}, from memory")
    TIMER.load(seconds[variant])
    benchmark.pedantic(TIMER.play_round, rounds=len(seconds[variant]), iterations=1)

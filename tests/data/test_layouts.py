"""Every layout of docs/own-data.md: its tree is built, its command imports it, all train on it."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shlex
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.backends.base import TrainingJob
from harness.cli import main
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.execution.worker import Worker
from harness.plugins import find_backend, find_model
from harness.protocol.weights import initial_weights

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-data.md"
SIDE = 28
BATCH = 8
Fill = Callable[[Path, str], None]


def layouts() -> dict[str, str]:
    """The sections of the page that show a layout, by heading."""
    text = PAGE.read_text(encoding="utf-8")
    text = text[text.index("\n## Supported layouts\n") :]
    text = text[: text.index("\n## ", 4)]
    return dict(section.split("\n", 1) for section in text.split("\n### ")[1:])


def block(section: str, language: str = "") -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)[:1]
    return found


def entries(tree: str) -> Iterator[str]:
    """The paths in a tree: a folder holds what stands to the right of where its name begins."""
    above: list[tuple[int, str]] = []
    for line in tree.splitlines():
        names: list[str] = []
        for match in re.finditer(r"\S+", line):
            name, column = match[0], match.start()
            while above and above[-1][0] >= column:
                above.pop()
            folder = "".join(each for _, each in above)
            if name.endswith("/"):
                above.append((column, name))
            elif names and names[-1] == "...":
                first, last = int(Path(names[-2]).stem), int(Path(name).stem)
                yield from (f"{folder}{i:02}.png" for i in range(first + 1, last + 1))
            elif name != "...":
                yield folder + name
            names.append(name)


def pixels(path: Path) -> np.ndarray:
    return np.random.default_rng(list(str(path).encode())).integers(0, 256, (SIDE, SIDE), np.uint8)


def write_table(path: Path, example: str) -> None:
    """A row for each image below the folder of the table; values as the example's, in turn."""
    delimiter = ";" if ";" in example else ","
    header, *rows = csv.reader(io.StringIO(example), delimiter=delimiter)
    images = sorted(path.parent.rglob("*.png"))
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        for number, image in enumerate(images):
            row = list(rows[number % len(rows)])
            in_folder = "/" in rows[0][0]
            row[0] = image.relative_to(path.parent).as_posix() if in_folder else image.name
            if "PatientID" in header:
                row[header.index("PatientID")] = f"P{number // 2}"
            writer.writerow(row)


NIH_HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,View Position\n"


def write_nih(path: Path) -> None:
    names = [image.name for image in sorted(path.parent.rglob("*.png"))]
    labels = ("No Finding", "Mass|Hernia", "Edema")
    path.write_text(
        NIH_HEADER + "".join(f"{n},{labels[i % 3]},0,{i // 2},PA\n" for i, n in enumerate(names))
    )


def write_list(path: Path) -> None:
    """The last ten images are those of the test."""
    names = [image.name for image in sorted(path.parent.rglob("*.png"))]
    chosen = names[:-10] if path.name.startswith("train") else names[-10:]
    path.write_text("\n".join(chosen) + "\n")


def write_archive(path: Path, tree: str) -> None:
    arrays = {}
    for key, shape in re.findall(r"^  (\w+) +\((.*)\)$", tree, re.M):
        sides = [int(side) for side in shape.replace("N", "24").split(",") if side.strip()]
        numbers = np.arange(sides[0])
        if len(sides) > 2:
            arrays[key] = np.random.default_rng(len(arrays)).integers(0, 256, sides, np.uint8)
        elif "patient" in key:
            arrays[key] = numbers // 2
        else:
            arrays[key] = (numbers % 2).reshape(sides)
    np.savez(path, **arrays)


def write_idx(path: Path) -> None:
    first, classes = (1, 26) if "letters" in path.name else (0, 3)
    count = 80 if "train" in path.name else 26
    values = (np.arange(count) % classes + first).astype(np.uint8)
    if "images" in path.name:
        values = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE), np.uint8)
    content = (
        struct.pack(f">I{values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def build(root: Path, section: str) -> None:
    """Make the tree of a section, with made-up pixels and labels."""
    tree = block(section)
    if tree.split()[0].endswith(".npz"):
        write_archive(root / tree.split()[0], tree)
        return
    paths = [root / entry for entry in entries(tree)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            Image.fromarray(pixels(path.relative_to(root))).save(path)
    for path in paths:
        if path.name.startswith("Data_Entry"):
            write_nih(path)
        elif path.suffix == ".csv":
            write_table(path, block(section, "csv"))
        elif path.suffix == ".txt":
            write_list(path)
        elif "ubyte" in path.name:
            write_idx(path)
        assert path.is_file(), path


EXPECTED = {  # task, classes, sizes; None where the page leaves it to the rule of the splits
    "One folder per class": ("multiclass", ("rose", "tulip"), (28, 4, 8)),
    "One folder per split": ("multiclass", ("cat", "dog"), (24, 12, 12)),
    "Splits inside the class folders": ("multiclass", ("round", "square"), (22, 2, 16)),
    "Two levels of folders": ("multiclass", ("ill", "well"), (28, 4, 8)),
    "A table of classes": ("multiclass", ("cat", "dog"), (28, 4, 8)),
    "A table of several labels, with patients": ("multilabel", ("Effusion", "Mass"), (28, 4, 8)),
    "A table of 0/1 columns, with splits": ("multilabel", ("wet", "cold"), (14, 13, 13)),
    "A table with a list of test images": ("multiclass", ("four", "seven"), (28, 2, 10)),
    "NIH ChestX-ray14": ("multilabel", 14, (26, 4, 10)),
    "NIH ChestX-ray14 at 224 pixels": ("multiclass", ("No Finding", "Finding"), (26, 4, 10)),
    "MedMNIST": ("multiclass", ("normal", "pneumonia"), (24, 24, 24)),
    "NumPy arrays of splits": ("multiclass", ("0", "1"), (24, 24, 24)),
    "NumPy arrays of one set, with patients": ("multiclass", ("left", "right"), (18, 2, 4)),
    "IDX files (MNIST and its relatives)": ("multiclass", ("0", "1", "2"), (77, 3, 26)),
    "EMNIST": ("multiclass", tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), (54, 26, 26)),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Callable[[str], Path]:
    """Builds the layout of a heading and imports it by the command on the page, once."""
    sections = layouts()
    done: dict[str, Path] = {}

    def make(heading: str) -> Path:
        if heading not in done:
            folder = tmp_path_factory.mktemp("layout")
            build(folder, sections[heading])
            words = shlex.split(block(sections[heading], "console"))
            assert words[:3] == ["bench", "data", "import"]
            out = folder / "out.h5"
            words[3] = str(folder / words[3])
            result = CliRunner().invoke(main, [*words[1:], "--out", str(out)])
            assert result.exit_code == 0, result.output
            done[heading] = out
        return done[heading]

    return make


def test_the_page_and_this_test_name_the_same_layouts():
    assert list(layouts()) == list(EXPECTED)


@pytest.mark.parametrize("heading", EXPECTED)
def test_a_layout_is_imported_by_its_command(imported, heading):
    task, classes, sizes = EXPECTED[heading]
    with open_dataset(imported(heading)) as file:
        assert file.task == task
        assert (len(file.classes) if isinstance(classes, int) else file.classes) == classes
        assert tuple(file.sizes.values()) == sizes
        assert file.summary is not None
        assert file.summary.found


@pytest.mark.parametrize("framework", ["torch", "jax", "julia-reference"])
def test_every_layout_is_trained_on(imported, framework, ready):
    """One epoch each, in one worker: a network learns from each file as it was imported."""
    spec = find_backend(ready(framework))
    card = find_model("lenet5")
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compiles sooner
    with Worker(spec, threads=1, environment=quick) as worker:
        worker.import_framework()
        for heading in EXPECTED:
            with open_dataset(imported(heading)) as file:
                weights = initial_weights(
                    card.parameters(file.image_shape, len(file.classes)), seed=0
                )
                steps = file.sizes["train"] // BATCH
            task = TrainingJob(
                model=card.name, dataset=imported(heading), optimizer=Optimizer(),
                precision="float32", threads=1,
            )  # fmt: skip
            worker.build(task, weights)
            order = np.arange(steps * BATCH, dtype=np.int64).reshape(steps, BATCH)
            _, losses = worker.train_epoch(order, np.full(steps, 0.01))
            assert losses.shape == (steps,)
            assert np.isfinite(losses).all(), heading

"""Every reader of files from outside, each with a small valid file to start from.

Shared by the hypothesis test (``tests/fuzz/test_readers.py``) and by ``make fuzz``
(``tests/fuzz/fuzz.py``). A reader may return or raise BenchError; anything else is a defect.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from harness.config import load_experiment
from harness.console import terminal
from harness.data.cards import read_card
from harness.data.importers import medmnist, nih, npz, table
from harness.data.importers.files import read_list
from harness.data.importers.idx import read_idx
from harness.data.importers.images import read_images
from harness.data.importers.options import ImportOptions
from harness.data.reader import open_dataset
from harness.data.schema import ImageDataset, Split
from harness.data.summary import Account
from harness.data.validate import validate
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.interchange import import_weights
from harness.paths import cards_dir
from harness.plan import Cell
from harness.plugins import find_model
from harness.protocol.weights import initial_weights, read_weights, save_weights
from harness.results.folder import DatasetEntry, Manifest, RunFolder
from harness.results.records import CellResult


@dataclass(frozen=True)
class Reader:
    """``read(path)`` reads the file ``name``, of which ``seed(folder)`` makes a valid one."""

    name: str
    seed: Callable[[Path], bytes]
    read: Callable[[Path], object]
    beside: Callable[[Path], object] = lambda folder: None
    """Writes the other files that the reader needs."""
    seconds: int = 20
    """What one input may take. A process that examines HDF5 files may compute for 10 s."""

    def prepare(self, folder: Path) -> tuple[Path, bytes]:
        """The path at which the reader looks, and the content of a valid file."""
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / "seed"
        scratch.mkdir()
        content = self.seed(scratch)
        shutil.rmtree(scratch)
        self.beside(folder)
        return folder / self.name, content

    def run(self, path: Path, content: bytes) -> None:
        """Read ``content``; raises nothing that a reader may not raise."""
        path.write_bytes(content)
        errors = terminal.__dict__.get("err")
        terminal.__dict__["err"] = _silent()
        try:
            with contextlib.suppress(BenchError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(path)
        finally:
            terminal.__dict__.pop("err")
            if errors is not None:
                terminal.__dict__["err"] = errors


def _silent() -> object:
    from rich.console import Console

    return Console(file=io.StringIO())


RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _idx(_folder: Path) -> bytes:
    return struct.pack(">IIII", 0x803, 3, 4, 4) + bytes(range(48))


def _npz(folder: Path, **arrays: np.ndarray) -> bytes:
    np.savez(folder / "x.npz", **arrays)
    return (folder / "x.npz").read_bytes()


def _small(folder: Path) -> bytes:
    splits = {
        name: Split(
            pixels(size, 1, 4, 4),
            (np.arange(size) % 2).astype(np.uint8),
            np.arange(size) + 100 * size,
            [f"{i}.png" for i in range(size)],
        )
        for name, size in (("train", 8), ("val", 3), ("test", 4))
    }
    dataset = ImageDataset("small", "multiclass", ("a", "b"), splits)
    return write_dataset(folder / "x.h5", dataset).read_bytes()


def _dataset(path: Path) -> None:
    with open_dataset(path) as data:
        for name in data.sizes:
            data.split(name).images([0])
            data.class_counts(name)
    validate(path)


def _weights(folder: Path) -> bytes:
    parameters = find_model("lenet5").parameters((1, 12, 12), 2)
    save_weights(folder / "w.h5", initial_weights(parameters, 0), model="lenet5")
    return (folder / "w.h5").read_bytes()


def _state() -> dict[str, np.ndarray]:
    return {"conv1.weight": np.ones((2, 1, 3, 3), np.float32), "fc.bias": np.ones(3, np.float32)}


def _safetensors(folder: Path) -> bytes:
    from safetensors.numpy import save

    return bytes(save(_state()))


def _pth(folder: Path) -> bytes:
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in _state().items()}, folder / "w")
    return (folder / "w").read_bytes()


def _old_pth(folder: Path) -> bytes:
    import torch

    state = {name: torch.from_numpy(array) for name, array in _state().items()}
    torch.save(state, folder / "w", _use_new_zipfile_serialization=False)
    return (folder / "w").read_bytes()


def _read_pth(path: Path) -> None:
    from harness.backends.torch.checkpoint import read_checkpoint

    read_checkpoint(path)


def _png(folder: Path) -> bytes:
    Image.fromarray(pixels(9, 9, 3)).save(folder / "x.png")
    return (folder / "x.png").read_bytes()


def _images(folder: Path) -> None:
    (folder / "images").mkdir()
    for name in "abcd":
        Image.fromarray(pixels(4, 4)).save(folder / "images" / f"{name}.png")


NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,View Position\n"
    "a.png,Mass|Nodule,0,1,58,PA\nb.png,No Finding,1,1,60,AP\nc.png,Edema,0,2,33,PA\n"
    "d.png,Hernia,0,3,71,PA\n"
)
LABELS = (
    "file,label,patient,split\na.png,x,1,train\nb.png,y,1,train\nc.png,x|y,2,val\nd.png,,3,test\n"
)


def _nih(path: Path) -> None:
    work = path.parent / "work"
    try:
        nih.load(path.parent, ImportOptions(work=work, yes=True, allow_missing=True))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(folder: Path) -> RunFolder:
    cell = Cell(framework="x", model="lenet5", dataset="small", seed=0)
    entry = DatasetEntry(
        path="small.h5", sha256="0", train=8, val=3, test=4, image_shape=(1, 4, 4),
        classes=("a", "b"), task="multiclass", source="[]", split="", license="",
    )  # fmt: skip
    experiment = load_experiment(None, {"frameworks": ["x"], "threads": 1})
    manifest = Manifest(
        harness_version="0", created="2001-02-03T04:05:06+00:00", command="",
        experiment=experiment, datasets={"small": entry}, cells=(cell,),
    )  # fmt: skip
    run = RunFolder.create(folder / "run", manifest, {"cpu": "x"})
    run.write_result(
        CellResult(cell=cell, status="failed", error="x", started="2001-02-03T04:05:06+00:00")
    )
    return run


def _stored(name: str) -> Reader:
    def seed(folder: Path) -> bytes:
        run = _run(folder)
        run.unlock()
        return (run.path / name).read_bytes()

    def beside(folder: Path) -> None:
        run = _run(folder / "with")
        run.unlock()
        for path in run.path.rglob("*"):
            target = folder / path.relative_to(run.path)
            target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
        shutil.rmtree(folder / "with")

    def read(path: Path) -> None:
        root = path.parent if path.parent.name != "cells" else path.parent.parent
        run = RunFolder.open(root)
        run.results()
        run.environments  # noqa: B018
        run.machine  # noqa: B018

    return Reader(name, seed, read, beside)


def _baselines(folder: Path) -> bytes:
    return (Path(__file__).parents[1] / "regression" / "baselines.json").read_bytes()[:2500]


def _read_baselines(path: Path) -> None:
    from harness.analysis.baseline import read_baselines

    read_baselines(path)


CONFIG = b"""frameworks = ["torch"]
seeds = [0, 1]
[training]
epochs = 3
[training.optimizer]
name = "adam"
"""

READERS = {
    "idx": Reader("train", _idx, lambda path: read_idx(path, 3)),
    "idx-gzip": Reader("train.gz", lambda f: gzip.compress(_idx(f)), lambda p: read_idx(p, 3)),
    "npz": Reader(
        "x.npz",
        lambda f: _npz(f, images=pixels(6, 4, 4), labels=np.arange(6) % 2, patients=np.arange(6)),
        lambda path: npz.load(path, ImportOptions(yes=True)),
    ),
    "medmnist": Reader(
        "pneumoniamnist.npz",
        lambda f: _npz(
            f,
            **{f"{s}_images": pixels(4, 28, 28) for s in ("train", "val", "test")},
            **{f"{s}_labels": np.arange(4)[:, None] % 2 for s in ("train", "val", "test")},
        ),
        lambda path: medmnist.load(path, ImportOptions(yes=True)),
    ),
    "data-set": Reader("x.h5", _small, _dataset, seconds=120),
    "weights": Reader("w.h5", _weights, read_weights, seconds=120),
    "safetensors": Reader(
        "w.safetensors",
        _safetensors,
        lambda path: import_weights(path, "resnet18", path.with_suffix(".out")),
    ),
    "nih": Reader("Data_Entry_2017.csv", lambda _: NIH.encode(), _nih, _images),
    "table": Reader(
        "labels.csv",
        lambda _: LABELS.encode(),
        lambda path: table.load(path.parent, ImportOptions(yes=True, allow_missing=True)),
        _images,
    ),
    "list": Reader("test.txt", lambda _: b"a.png\nimages/b.png\n", read_list),
    "image": Reader(
        "x.png",
        lambda f: (Image.fromarray(pixels(9, 9, 3)).save(f / "x.png"), (f / "x.png").read_bytes())[
            1
        ],
        lambda path: read_images([path], Account(path, True)),
    ),
    "card": Reader("mnist.toml", lambda _: (cards_dir() / "mnist.toml").read_bytes(), read_card),
    "experiment": Reader("x.toml", lambda _: CONFIG, lambda path: load_experiment(path, {})),
    "manifest": _stored("experiment.json"),
    "environment": _stored("environment.json"),
    "result": _stored("cells/x-lenet5-small-s0.json"),
    "baselines": Reader("b.json", _baselines, _read_baselines),
}
if find_spec("torch") is not None:
    READERS["pth"] = Reader("w.pth", _pth, _read_pth)
    READERS["old-pth"] = Reader("w.pth", _old_pth, _read_pth)

TOKENS = (
    b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"-1", b"1e999", b"NaN", b"Infinity",
    b"99999999999999999999", b"null", b"true", b"[]", b"{}", b'"', b"'", b",", b"\n", b"\r", b";",
    b"\t", b"|", b"../", b"=", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[", b"[" * 500, b"{" * 500,
)  # fmt: skip


def mutated(content: bytes, changes: list[tuple[int, float, float, int]]) -> bytes:
    """``content`` after ``changes``: what is done, where from, how far, and with which token."""
    for kind, start, length, token in changes:
        first = int(start * len(content))
        last = first + int(length * min(len(content) - first, 64)) + 1
        match kind:
            case 0:  # flip bits of one byte
                byte = content[first : first + 1] or b"\0"
                content = (
                    content[:first] + bytes([byte[0] ^ (token % 255 + 1)]) + content[first + 1 :]
                )
            case 1:
                content = content[:first] + content[last:]
            case 2:
                content = content[:last] + content[first:]
            case 3:
                content = content[:first] + TOKENS[token % len(TOKENS)] + content[first:]
            case 4:
                content = content[:first] + TOKENS[token % len(TOKENS)] + content[last:]
            case 5:
                content = content[:first]
            case _:
                content = content[:first] + bytes([token % 256]) * (last - first) + content[last:]
    return content

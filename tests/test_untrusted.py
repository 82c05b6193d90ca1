"""Damaged and hostile HDF5 files neither crash nor hang the process that is asked to read them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from harness import untrusted
from harness.data.reader import open_dataset
from harness.data.writer import write_dataset
from harness.errors import BenchError
from harness.protocol.weights import Origin, read_weights, save_weights

HANGS = "reading it does not end"

READER = """
import faulthandler, sys
from pathlib import Path
from harness import untrusted
from harness.data.reader import open_dataset
from harness.data.writer import write_dataset
from harness.data.validate import validate
from harness.errors import BenchError
from harness.protocol.weights import read_weights

for path in map(Path, sys.argv[1:]):
    faulthandler.dump_traceback_later(30, exit=True)
    untrusted.trust(path)
    for read in (validate, read_weights):
        try:
            read(path)
        except BenchError:
            pass
    try:
        with open_dataset(path) as data:
            for name in data.sizes:
                data.split(name).all_images(), data.split(name).id
    except BenchError:
        pass
print("done")
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Less of it than for files of users; the child in use, if any, has the usual limits."""
    untrusted._stop()
    monkeypatch.setattr(untrusted, "CPU_S", 1)
    yield
    untrusted._stop()


@pytest.fixture
def path(small_file, tmp_path):
    path = tmp_path / "small.h5"
    path.write_bytes(small_file.read_bytes())
    return path


def endless(path: Path) -> None:
    """Give an object of the global heap a wrong length: libhdf5 2.0 then reads for ever."""
    with h5py.File(path, "a") as file:
        names = [f"image{index}.png" for index in range(12)]
        file["test"].create_dataset("id", data=names, dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    content[content.find(b"image1.png") - 8] = 0xFF
    path.write_bytes(content)


def replaced(split: str, name: str, **settings):
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            del file[split][name]
            file[split].create_dataset(name, **settings)

    return change


def attribute(name: str, value):
    def change(path: Path) -> None:
        with h5py.File(path, "a") as file:
            file.attrs[name] = value

    return change


def names_in_another_file(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["labels"] = np.zeros(9, np.uint8)
    with h5py.File(path, "a") as file:
        del file["val/labels"]
        file["val/labels"] = h5py.ExternalLink("other.h5", "labels")


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(9,), dtype=np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "labels", shape=(9,))
    with h5py.File(path, "a") as file:
        del file["val/labels"]
        file["val"].create_virtual_dataset("labels", layout)


def not_utf8(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["test"].create_dataset("id", data=["caf\xe9"] * 12, dtype=h5py.string_dtype())
    path.write_bytes(path.read_bytes().replace("caf\xe9".encode(), b"caf\xff\xfe"))


def attribute_not_utf8(path: Path) -> None:
    attribute("license", "caf\xe9")(path)
    path.write_bytes(path.read_bytes().replace("caf\xe9".encode(), b"caf\xff\xfe"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (endless, HANGS),
        (replaced("train", "labels", data=h5py.Empty("u1")), "null dataspace"),
        (replaced("val", "images", data=h5py.Empty("u1")), "null dataspace"),
        (replaced("train", "labels", shape=(2**40,), dtype="u1"), "more than the file holds"),
        (
            replaced("train", "images", shape=(2**20, 1, 2**20, 2**20), dtype="u1",
                     chunks=(1, 1, 256, 256)),
            "more than the file holds",
        ),
        (
            replaced("val", "images", shape=(9, 1, 12, 12), dtype="u1", chunks=(1, 1, 12, 12)),
            "more than the file holds",
        ),
        (names_in_another_file, "lies in another file"),
        (virtual, "lies in another file"),
        (
            replaced("val", "labels", shape=(9,), dtype="u1", external=[("/etc/passwd", 0, 9)]),
            "lies in another file",
        ),
        (not_utf8, "codec can't decode"),
        (attribute_not_utf8, "attribute license is not valid UTF-8"),
        (attribute("schema", h5py.Empty("i8")), "schema version"),
        (attribute("schema", np.arange(3)), "schema version"),
        (attribute("task", 3), "'task' is missing or not a string"),
        (attribute("classes", "a"), "not a list of strings"),
        (attribute("classes", np.arange(3)), "not a list of strings"),
        (attribute("mean", "0.5"), "not a list of numbers"),
        (attribute("mean", h5py.Empty("f8")), "not a list of numbers"),
        (attribute("std", np.array([np.nan])), "NaN"),
        (attribute("source", "[" * 100_000), "not a JSON list"),
        (attribute("source", '[{"file": 3}]'), "not a JSON list"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_one_line(path, damage, message):
    damage(path)
    with pytest.raises(BenchError) as caught:
        open_dataset(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_that_is_longer_than_the_file(path):
    """2^16 letters that 4096 entries share: 256 MiB out of 100 kB."""
    with h5py.File(path, "w") as file:
        file.create_dataset("id", (4096,), dtype=h5py.string_dtype())[0] = "x" * 2**16
        file.flush()
        at = file["id"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 4096 * 16] = 4096 * content[at : at + 16]
    path.write_bytes(content)
    assert "more text than the file has bytes" in str(untrusted.examine(path).fault)


def test_compressed_files_are_read(path):
    with h5py.File(path, "a") as file:
        for split in file.values():
            for name in ("images", "labels"):
                values = split[name][()]
                del split[name]
                split.create_dataset(name, data=values, compression="gzip", shuffle=True)
    assert untrusted.examine(path) == untrusted.Examination(True, None)
    with open_dataset(path) as data:
        assert data.split("train").all_images().shape == (40, 1, 12, 12)


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path, what):
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "folder": tmp_path}[what]
    if what == "pipe":
        os.mkfifo(path)
    for read in (open_dataset, read_weights):
        with pytest.raises(BenchError, match=f"{path}: is a .*, not a file"):
            read(path)


def test_weights_that_never_end_and_a_healthy_file_after_them(path, tmp_path):
    endless(path)
    with pytest.raises(BenchError, match=f"cannot read weights from {path}: {HANGS}"):
        read_weights(path)
    good = tmp_path / "good.h5"
    save_weights(good, {"w": np.ones((2, 3), np.float32)}, model="lenet5")
    untrusted._trusted.clear()
    assert read_weights(good).model == "lenet5"


def test_a_file_is_examined_once_and_again_when_it_changes(path):
    assert untrusted.examine(path).fault is None
    child = untrusted._child
    untrusted._stop()
    assert untrusted.examine(path).fault is None
    assert untrusted._child is None, "a worker would have started another process"
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in str(untrusted.examine(path).fault)
    assert child is not None


def test_a_worker_inherits_what_was_examined(path):
    untrusted.examine(path)
    code = (
        "import sys; from pathlib import Path; from harness import untrusted\n"
        "untrusted.examine(Path(sys.argv[1])); print(untrusted._child)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr


def test_hundreds_of_damaged_files(small_dataset, tmp_path, monkeypatch, python):
    """Whatever passes the examination can be read to its end, without a crash or a hang."""
    random = np.random.default_rng(20)
    named = {
        name: replace(split, id=[f"{index}.png" for index in range(len(split))])
        for name, split in small_dataset().splits.items()
    }
    write_dataset(tmp_path / "a.h5", small_dataset(splits=named))
    weights = {f"layer{index}.weight": np.ones((3, 4), np.float32) for index in range(20)}
    save_weights(tmp_path / "b.h5", weights, model="lenet5", origin=Origin(classes=("a", "b")))
    originals = [(tmp_path / name).read_bytes() for name in ("a.h5", "b.h5")]
    passed, faults = [], []
    for number in range(300):
        content = bytearray(originals[number % 2])
        for _ in range(random.integers(1, 5)):
            value = random.choice([0, 255, random.integers(256), 1 << random.integers(8)])
            content[random.integers(len(content))] = value
        path = tmp_path / f"{number}.h5"
        path.write_bytes(content)
        fault = untrusted.examine(path).fault
        (passed if fault is None else faults).append(path)
    assert len(passed) > 100
    assert len(faults) > 30
    done = python("-c", READER, *passed)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr

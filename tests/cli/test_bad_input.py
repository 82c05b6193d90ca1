"""Bad input of every kind ends in one line that says what is wrong, with exit code 2.

Each case is a line of a table: what is prepared in a folder, the words after ``bench``, and a part
of the message. ``{d}`` is the folder, which must be the same afterwards, byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.cli import main
from harness.data import cards
from harness.data.writer import write_dataset
from harness.models.card import Parameter
from harness.paths import cards_dir
from harness.protocol.weights import initial_weights, save_weights

Prepare = Callable[[Path], object]
DATA = ("--datasets", "{d}/small.h5")
RUN = ("run", "--frameworks", "sound", *DATA, "--batch-size", "8", "--out", "{d}/run")
IMPORT = ("data", "import", "{d}/x", "--name", "mine", "--data-dir", "{d}/data")


def nothing(_folder: Path) -> None:
    """The folder holds small.h5 alone."""


def text(name: str, content: str | bytes = "nothing of the kind\n") -> Prepare:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def folder(name: str) -> Prepare:
    return lambda where: (where / name).mkdir(parents=True)


def both(*steps: Prepare) -> Prepare:
    return lambda where: [step(where) for step in steps]


def hdf5(name: str, change: Callable[[h5py.File], object] = lambda file: None) -> Prepare:
    """small.h5 under another name, changed."""

    def write(where: Path) -> None:
        path = where / name
        path.write_bytes((where / "small.h5").read_bytes())
        with h5py.File(path, "a") as file:
            change(file)

    return write


def replaced(key: str, values: np.ndarray) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[key]
        file[key] = values

    return change


def attribute(key: str, value: object) -> Callable[[h5py.File], object]:
    return lambda file: file.attrs.__setitem__(key, value)


def npz(**arrays: np.ndarray) -> Prepare:
    return lambda where: np.savez(where / "x", **arrays)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def images(names: str, name: str = "x") -> Prepare:
    """Small grey images of random pixels at these paths."""

    def write(where: Path) -> None:
        random = np.random.default_rng(0)
        for each in names.split():
            path = where / name / each
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (5, 5), np.uint8)).save(path)

    return write


def table(rows: str, names: str = "a.png b.png c.png d.png") -> Prepare:
    return both(images(names), text("x/labels.csv", rows))


def idx(pixels: bytes, labels: bytes = struct.pack(">II", 0x801, 2) + b"\0\1") -> Prepare:
    return both(
        text("x/train-images-idx3-ubyte", pixels), text("x/train-labels-idx1-ubyte", labels)
    )


NIH = "Image Index,Finding Labels,Patient ID,View Position\n"
IDX = struct.pack(">IIII", 0x803, 2, 3, 3)


def weights(name: str, **further: np.ndarray) -> Prepare:
    """A weight file of one parameter, which fits no network."""

    def write(where: Path) -> None:
        parameter = Parameter(name="conv1.weight", shape=(2, 3), initializer="zeros")
        save_weights(where / name, initial_weights([parameter], 0) | further, model="lenet5")

    return write


EVALUATE = ("evaluate", "--framework", "sound", "--dataset", "{d}/small.h5", "--weights")

OPTIONS = [
    (("--frameworks", "sount"), "unknown framework 'sount'; did you mean 'sound'?"),
    (("--frameworks", "sound,,x"), "separated by commas"),
    (("--models", "lenet6"), "unknown model 'lenet6'"),
    (("--datasets", "no-such"), "unknown data set 'no-such'"),
    (("--datasets", "{d}/none.h5"), "no such file"),
    (("--seeds", "one"), "seeds"),
    (("--seeds", "-1"), "seeds"),
    (("--seeds", "2,2"), "names something twice"),
    (("--seeds", "9223372036854775808"), "seeds"),
    (("--threads", "0"), "threads"),
    (("--threads", "100000"), "may use only"),
    (("--threads", "two"), "threads"),
    (("--device", "tpu"), "device"),
    (("--sessions", "0"), "sessions"),
    (("--rounds", "-1"), "rounds"),
    (("--target", "0"), "target"),
    (("--target", "1.5"), "target"),
    (("--target", "nan"), "target"),
    (("--inference", "0"), "inference"),
    (("--timeout", "0"), "timeout"),
    (("--timeout", "warmup=3"), "timeout"),
    (("--epochs", "0"), "epochs"),
    (("--epochs", "1e3x"), "epochs"),
    (("--batch-size", "0"), "batch"),
    (("--batch-size", "41"), "larger than the 40 training images"),
    (("--schedule", "linear"), "schedule"),
    (("--precision", "float16"), "precision"),
    (("--optimizer", "rmsprop"), "optimizer"),
    (("--lr", "nan"), "learning_rate"),
    (("--lr", "-1"), "learning_rate"),
    (("--lr", "inf"), "learning_rate"),
    (("--momentum", "1"), "momentum"),
    (("--weight-decay", "-0.1"), "weight_decay"),
    (("--beta1", "1"), "beta1"),
    (("--beta2", "-1"), "beta2"),
    (("--epsilon", "0"), "epsilon"),
    (("--shift", "-1"), "shift"),
    (("--shift", "12"), "leaves nothing of images"),
    (("--positive-weights", "some"), "positive"),
    (("--positive-weights", "balanced"), "one label"),
    (("--initial-weights", "{d}/none.h5"), "none.h5"),
    (("--initial-weights", "{d}/small.h5"), "not a weight file"),
    (("--data-dir", "{d}/small.h5", "--datasets", "digits"), "small.h5"),
    (("--config", "{d}/none.toml"), "cannot read the experiment file"),
    (("--config", "{d}"), "cannot read the experiment file"),
    (("--out", "{d}/small.h5"), "is a file"),
    (("--out", "{d}/small.h5/run"), "small.h5"),
    (("--resume",), "holds no run"),
    (("--no-such-option",), "No such option"),
]

CONFIGS = [
    ("epochs = ", "not valid TOML"),
    (b"\xff\xfe\0", "not valid TOML"),
    ("[" * 100_000, "not valid TOML"),
    ("x = 1\n" * 400_000, "longer than"),
    ("epoch = 3", "unknown setting 'epoch'"),
    ("[training]\nepoch = 3", "unknown setting 'training.epoch'"),
    ("training = 3", "training"),
    ("[training]\nepochs = true", "expected a number or a name"),
    ("[training]\nepochs = 1.5", "training.epochs"),
    ("[training]\nbatch_size = [1]", "training.batch_size"),
    ("[training.optimizer]\nname = 3", "training.optimizer.name"),
    ("models = []", "models"),
    ("models = 'lenet5'", "models"),
    ("models = ['lenet5', 'lenet5']", "names something twice"),
    ("seeds = ['a']", "seeds"),
    ("threads = 0", "threads"),
    ("device = 'abacus'", "device"),
    ("timeout = {epoch = -1}", "timeout"),
    ("training.initial_weights = 3", "initial_weights"),
]

FILES: list[tuple[Prepare, str]] = [
    (text("bad.h5"), "not an HDF5 file"),
    (text("bad.h5", ""), "is empty"),
    (lambda d: (d / "bad.h5").write_bytes((d / "small.h5").read_bytes()[:5000]), "truncated"),
    (folder("bad.h5"), "is a folder"),
    (hdf5("bad.h5", attribute("schema", 99)), "schema version 99"),
    (hdf5("bad.h5", attribute("task", "guessing")), "attribute 'task' is 'guessing'"),
    (hdf5("bad.h5", attribute("mean", [np.nan])), "holds NaN"),
    (hdf5("bad.h5", attribute("std", [0.0])), "is not positive"),
    (hdf5("bad.h5", attribute("source", "{")), "is not a JSON list"),
    (hdf5("bad.h5", attribute("import", "{")), "is not the summary of an import"),
    (hdf5("bad.h5", lambda f: f.attrs.__delitem__("schema")), "not a data set of this harness"),
    (hdf5("bad.h5", lambda f: f.__delitem__("val")), "/val: this split is missing"),
    (hdf5("bad.h5", lambda f: f.__delitem__("val/labels")), "this dataset is missing"),
    (hdf5("bad.h5", replaced("val/labels", np.full(9, 7, np.uint8))), "label 7 at index 0"),
    (hdf5("bad.h5", replaced("val/images", zeros(9, 1, 5, 5))), "1x5x5"),
    (hdf5("bad.h5", replaced("val/images", np.zeros((9, 1, 12, 12)))), "expected uint8"),
    (hdf5("bad.h5", replaced("train/images", zeros(0, 1, 12, 12))), "no images"),
]

IMPORTS: list[tuple[Prepare, tuple[str, ...], str]] = [
    (nothing, (), "does not exist"),
    (folder("x"), (), "not recognised as a data set"),
    (text("x"), (), "not recognised as a data set"),
    (folder("x"), ("--format", "fodler"), "unknown format 'fodler'; did you mean 'folder'?"),
    (images("a/1.png b/1.png"), ("--size", "0"), "expected pixels"),
    (images("a/1.png b/1.png"), ("--size", "10x"), "expected pixels"),
    (images("a/1.png b/1.png"), ("--channels", "2"), "expected one of 1, 3"),
    (images("a/1.png b/1.png"), ("--bit-depth", "7"), "must be 8 to 16"),
    (images("a/1.png b/1.png"), ("--bit-depth", "x"), "expected a whole number"),
    (images("a/1.png b/1.png"), ("--window", "5"), "expected two numbers"),
    (images("a/1.png b/1.png"), ("--window", "5:5"), "must be the larger one"),
    (images("a/1.png b/1.png"), ("--window", "0:inf"), "must be finite"),
    (images("a/1.png b/1.png"), ("--layout", "nchw"), "does not apply"),
    (images("a/1.png b/1.png"), ("--option", "x=1"), "unknown option of format folder 'x'"),
    (images("a/1.png b/1.png"), ("--option", "x"), "expected NAME=VALUE"),
    (images("a/1.png b/1.png"), ("--val-fraction", "1"), "must lie between 0 and 1"),
    (images("a/1.png b/1.png"), ("--test-fraction", "nan"), "must lie between 0 and 1"),
    (images("a/1.png b/1.png"), ("--split-seed", "-1"), "must not be negative"),
    (images("a/1.png b/1.png"), ("--classes", ","), "expected names"),
    (images("a/1.png b/1.png"), ("--classes", "a,c"), "classes"),
    (images("a/1.png b/1.png"), ("--classes", "a"), "1 class name was given"),
    (images("a/1.png b/1.png"), ("--name", "../up"), "must be of letters"),
    (images("a/1.png b/1.png"), ("--out", "{d}/small.h5"), "exists already"),
    (images("a/1.png"), ("--format", "folder"), "1 class folders"),
    (both(images("a/1.png b/1.png"), text("x/a/2.png")), (), "are broken"),
    (table("file,label\na.png,x\nb.png\n"), (), "line 3 has 1 values"),
    (table("file,label\n"), (), "no rows"),
    (table("file,label\na.png,\nb.png,\n"), ("--allow-missing",), "no label in any of 2 rows"),
    (table("file,label\na.png,x\na.png,y\n"), (), "stands in two rows"),
    (table("file,label\na.png,x\nz.png,y\n"), (), "are not under"),
    (table("label\nx\n"), (), "column"),
    (both(table("file,label\n../z.png,x\nb.png,y\n"), images("z.png", ".")), (), "1 image outside"),
    (table("file,label\na.png,x\n"), ("--label-column", "lable"), "no such column"),
    (table("file,label\na.png,x\n"), ("--delimiter", "ab"), "expected one character"),
    (table("file,label\na.png,x\n"), ("--labels-csv", "{d}/none.csv"), "no such file"),
    (both(table(""), text("x/labels.csv", b"\xff\xfe,\0")), (), "not a CSV file in UTF-8"),
    (idx(IDX + bytes(17)), (), "truncated"),
    (idx(IDX + bytes(19)), (), "too long"),
    (idx(b"\0\0\x0d\x03" + IDX[4:] + bytes(18)), (), "magic number"),
    (idx(IDX + bytes(18), struct.pack(">II", 0x801, 3) + bytes(3)), (), "3 labels"),
    (idx(gzip.compress(IDX + bytes(18))[:-9]), (), "gzip"),
    (text("x/train-images-idx3-ubyte", IDX + bytes(18)), (), "its labels are missing"),
    (both(images("images/a.png"), text("x/Data_Entry_2017.csv", "a,b\n1,2\n")), (), "no column"),
    (text("x/Data_Entry_2017.csv", NIH + "a.png,Cough,1,PA\n"), (), "none of NIH's 14 labels"),
    (text("x/Data_Entry_2017.csv", NIH + "a.png,Mass,one,PA\n"), (), "is not a number"),
    (text("x/Data_Entry_2017.csv", NIH + "a.png,Mass,1,PA\n"), (), "not one of the 1 images"),
]
NPZ: list[tuple[Prepare, tuple[str, ...], str]] = [
    (text("x.npz"), (), "damaged"),
    (npz(pictures=zeros(4, 3, 3)), (), "no training images"),
    (npz(images=zeros(4, 3, 3)), (), "but not"),
    (npz(images=zeros(4, 3, 3), labels=zeros(3)), (), "3 labels for 4 images"),
    (npz(images=zeros(4, 3), labels=zeros(4)), (), "shape (4, 3)"),
    (npz(images=np.full((4, 3, 3), 0.5), labels=np.arange(4)), (), "fractional"),
    (npz(images=np.full((4, 3, 3), np.nan), labels=np.arange(4)), (), "0 to 255"),
    (npz(images=zeros(4, 3, 3), labels=np.array(list("abcd"))), (), "whole numbers"),
    (npz(images=zeros(4, 3, 3), labels=np.array([{}] * 4)), (), "pickled"),
    (npz(images=zeros(40, 3, 3), labels=np.arange(40) % 2), (), "cannot be normalised"),
]

OTHERS: list[tuple[Prepare, tuple[str, ...], str]] = [
    (nothing, (*EVALUATE, "{d}/none.h5"), "none.h5"),
    (text("w.h5"), (*EVALUATE, "{d}/w.h5"), "cannot read weights"),
    (text("w.h5", ""), (*EVALUATE, "{d}/w.h5"), "w.h5"),
    (nothing, (*EVALUATE, "{d}/small.h5"), "is not a weight file"),
    (weights("w.h5"), (*EVALUATE, "{d}/w.h5"), "parameter"),
    (weights("w.h5", x=np.zeros(2, np.int8)), (*EVALUATE, "{d}/w.h5"), "expected float32"),
    (weights("w.h5"), (*EVALUATE, "{d}/w.h5", "--split", "tests"), "split"),
    (weights("w.h5"), (*EVALUATE, "{d}/w.h5", "--model", "lenet6"), "unknown model"),
    (text("w.safetensors"), ("weights", "import", "{d}/w.safetensors", "--model", "resnet18",
      "--out", "{d}/o.h5"), "cannot read weights"),
    (text("w.xyz"), ("weights", "import", "{d}/w.xyz", "--model", "resnet18", "--out",
      "{d}/o.h5"), "weights are read from"),
    (text("w.safetensors"), ("weights", "import", "{d}/w.safetensors", "--model", "lenet5",
      "--out", "{d}/o.h5"), "model that others have too"),
    (nothing, ("weights", "export", "{d}", "a-b-c-s0", "--out", "{d}/o.h5"), "holds no run"),
    (nothing, ("data", "validate", "{d}/none.h5"), "no such file"),
    (nothing, ("data", "info", "no-such", "--data-dir", "{d}"), "unknown data set"),
    (nothing, ("data", "export", "no-such", "--data-dir", "{d}"), "unknown data set"),
    (nothing, ("data", "fetch", "no-such", "--data-dir", "{d}"), "unknown data set"),
    (nothing, ("data", "unknown-verb"), "No such command"),
    (nothing, ("report", "{d}/none"), "none"),
    (nothing, ("report", "{d}"), "holds no run"),
    (nothing, ("compare", "{d}"), ""),
    (nothing, ("reproduce", "{d}", "--out", "{d}/again"), "holds no run"),
    (nothing, ("parity", "--dataset", "no-such"), "no-such"),
    (nothing, ("parity", "--frameworks", "torhc"), "unknown framework"),
    (nothing, ("parity", "--run", "{d}"), "holds no run"),
    (nothing, ("doctor", "--frameworks", "torhc"), "unknown framework"),
    (nothing, ("setup", "fortran"), "fortran"),
    (nothing, ("unknown-verb",), "No such command"),
]  # fmt: skip

BASELINES = [
    "",
    "nothing",
    "[3]",
    "{}",
    '{"schema_version": 99}',
    '[{"framework": 3}]',
    "[" * 10_000,
]

CARDS = [
    ("", "the key"),
    ("name = ", "not valid TOML"),
    ("name = 'mnist'", "the key"),
    (("name = \"mnist\"", "name = \"other\""), "expected the file's own name"),
    (("https://ossci", "http://ossci"), "must begin with https://"),
    (('sha256 = "440', 'sha256 = "x'), "not a SHA-256"),
    (('classes = [', 'classes = 3 # ['), "mnist.toml"),
]  # fmt: skip


def snapshot(where: Path) -> dict[str, str]:
    return {
        str(path.relative_to(where)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "-"
        for path in sorted(where.rglob("*"))
    }


@pytest.fixture
def refused(planted, small_dataset, tmp_path, monkeypatch):
    """Runs a case and returns its line."""
    where = tmp_path / "here"
    where.mkdir()
    write_dataset(where / "small.h5", small_dataset())
    monkeypatch.chdir(where)
    monkeypatch.setenv("BENCH_DATA_DIR", str(where / "no-data"))

    def check(prepare: Prepare, words: tuple[str, ...], message: str) -> str:
        prepare(where)
        before = snapshot(where)
        done = CliRunner().invoke(main, [word.replace("{d}", str(where)) for word in words])
        assert done.exit_code == 2, (done.output, done.exception)
        assert isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        assert done.stdout == ""
        told = [
            line
            for line in done.stderr.splitlines()
            if line.strip() and not line.startswith(("Usage:", "Try ", "digits: exporting"))
        ]
        assert len(told) == 1, done.stderr
        assert told[0].lower().startswith("error: ")
        assert message in told[0]
        assert len(told[0]) < 2000
        assert snapshot(where) == before
        return told[0]

    return check


@pytest.mark.parametrize(("words", "message"), OPTIONS, ids=lambda v: str(v)[:60])
def test_options_of_a_run(refused, words, message):
    refused(nothing, (*RUN, *words), message)


@pytest.mark.parametrize(("content", "message"), CONFIGS, ids=lambda v: str(v)[:40])
def test_experiment_files(refused, content, message):
    config = ("run", "--config", "{d}/x.toml", *DATA, "--frameworks", "sound", "--out", "{d}/run")
    refused(text("x.toml", content), config, message)


@pytest.mark.parametrize(("prepare", "message"), FILES, ids=[m for _, m in FILES])
def test_data_set_files(refused, prepare, message):
    refused(prepare, (*RUN, "--datasets", "{d}/bad.h5"), message)


@pytest.mark.parametrize(("prepare", "words", "message"), IMPORTS, ids=[c[-1] for c in IMPORTS])
def test_imports(refused, prepare, words, message):
    refused(prepare, (*IMPORT, *words), message)


@pytest.mark.parametrize(("prepare", "words", "message"), NPZ, ids=[c[-1] for c in NPZ])
def test_imports_of_archives(refused, prepare, words, message):
    refused(prepare, (*IMPORT[:2], "{d}/x.npz", *IMPORT[3:], *words), message)


@pytest.mark.parametrize(
    ("prepare", "words", "message"), OTHERS, ids=[" ".join(c[1])[:60] for c in OTHERS]
)
def test_other_verbs(refused, prepare, words, message):
    refused(prepare, words, message)


@pytest.mark.parametrize(("content", "message"), CARDS, ids=[m for _, m in CARDS])
def test_cards(refused, monkeypatch, tmp_path, content, message):
    folder = tmp_path / "cards"
    folder.mkdir()
    if isinstance(content, tuple):
        before = (cards_dir() / "mnist.toml").read_text(encoding="utf-8")
        assert content[0] in before
        content = before.replace(*content, 1)
    (folder / "mnist.toml").write_text(content, encoding="utf-8")
    monkeypatch.setattr(cards, "cards_dir", lambda: folder)
    refused(nothing, ("data", "export", "mnist", "--data-dir", "{d}"), message)


# Stored files of a run ----------------------------------------------------------------------------

CELL = "swift-lenet5-digits-s0"


def changed(file: str, **fields: object) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        record = json.loads((run / file).read_text())
        (run / file).write_text(json.dumps(record | fields))

    return change


def overwritten(file: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda run: text(file, content)(run)


def without(file: str, key: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        record = json.loads((run / file).read_text())
        del record[key]
        (run / file).write_text(json.dumps(record))

    return change


def array(key: str, values: np.ndarray) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        with h5py.File(run / "cells" / f"{CELL}.h5", "a") as file:
            replaced(key, values)(file)

    return change


STORED: list[tuple[str, Callable[[Path], object]]] = [
    ("no experiment", lambda run: (run / "experiment.json").unlink()),
    ("no environment", lambda run: (run / "environment.json").unlink()),
    ("empty experiment", overwritten("experiment.json", "")),
    ("no JSON", overwritten("experiment.json", "{")),
    ("not UTF-8", overwritten("experiment.json", b"\xff\xff")),
    ("a list", overwritten("experiment.json", "[]")),
    ("deep", overwritten("experiment.json", "[" * 100_000)),
    ("another schema", changed("experiment.json", schema_version=2)),
    ("unknown field", changed("experiment.json", surprise=1)),
    ("no cells field", without("experiment.json", "cells")),
    ("no data sets", changed("experiment.json", datasets={})),
    ("a cell with a path", changed("experiment.json", cells=[
        {"framework": "../../x", "model": "lenet5", "dataset": "digits", "seed": 0}])),
    ("a cell twice", changed("experiment.json", cells=[
        {"framework": "x", "model": "lenet5", "dataset": "digits", "seed": 0}] * 2)),
    ("environment no JSON", overwritten("environment.json", "{")),
    ("environment a list", overwritten("environment.json", "[]")),
    ("environment deep", overwritten("environment.json", "[" * 100_000)),
    ("environments no JSON", overwritten("environments.json", "{")),
    ("environments a list", overwritten("environments.json", "[3]")),
    ("machine no JSON", overwritten("machine.json", "{")),
    ("machine a list", overwritten("machine.json", "[]")),
    ("result no JSON", overwritten(f"cells/{CELL}.json", "{")),
    ("result empty", overwritten(f"cells/{CELL}.json", "")),
    ("result a list", overwritten(f"cells/{CELL}.json", "[]")),
    ("result of another status", changed(f"cells/{CELL}.json", status="fine")),
    ("result with an unknown field", changed(f"cells/{CELL}.json", surprise=1)),
    ("result without a cell", without(f"cells/{CELL}.json", "cell")),
    ("result of another cell", changed(f"cells/{CELL}.json", cell={
        "framework": "tidy", "model": "lenet5", "dataset": "digits", "seed": 0})),
    ("epochs a number", changed(f"cells/{CELL}.json", epochs=3)),
    ("arrays text", overwritten(f"cells/{CELL}.h5", "nothing")),
    ("arrays empty", overwritten(f"cells/{CELL}.h5", "")),
    ("logits of another shape", array("test_logits", np.zeros((3, 3), np.float32))),
    ("labels out of range", array("test_labels", np.full(200, 9, np.uint8))),
    ("labels of another type", array("test_labels", np.full(200, 0.5))),
]  # fmt: skip


@pytest.mark.parametrize("verb", ["report", "compare"])
@pytest.mark.parametrize("change", [c for _, c in STORED], ids=[n for n, _ in STORED])
def test_stored_files_of_a_run(made_up, tmp_path, change, verb):
    run, other = made_up("run"), made_up("other")
    change(run)
    before = snapshot(run)
    words = [verb, str(run)] + [str(other)] * (verb == "compare")
    done = CliRunner().invoke(main, words)
    if done.exit_code == 0:  # a verb that does not read that file
        assert verb == "compare", done.output
        return
    assert done.exit_code == 2, (done.output, done.exception)
    assert "Traceback" not in done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(run) in line
    assert snapshot(run) == before


@pytest.mark.parametrize("content", BASELINES, ids=lambda v: v[:20] or "empty")
@pytest.mark.parametrize("verb", ["check", "show", "update"])
def test_baselines(made_up, tmp_path, content, verb):
    run, file = made_up("run"), tmp_path / "b.json"
    file.write_text(content)
    words = {
        "check": ["check", str(run), "--baseline", str(file)],
        "show": ["baseline", "show", str(file)],
        "update": ["baseline", "update", str(file), str(run)],
    }[verb]
    before = snapshot(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stdout == ""
    (line,) = [x for x in done.stderr.splitlines() if not x.startswith(("Usage:", "Try")) and x]
    assert line.lower().startswith("error: ")
    assert snapshot(tmp_path) == before


def test_there_are_enough_cases():
    assert sum(map(len, (OPTIONS, CONFIGS, FILES, IMPORTS, NPZ, OTHERS, STORED, CARDS))) >= 80

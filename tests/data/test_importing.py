from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness.data import importers
from harness.data.importers.options import ImportOptions
from harness.data.importing import import_path
from harness.data.reader import open_dataset
from harness.data.split import Fractions
from harness.errors import BenchError


@pytest.fixture
def archive(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz",
        images=rng.integers(0, 256, (50, 4, 4), dtype=np.uint8),
        labels=np.arange(50) % 5,
    )
    return tmp_path / "a.npz"


def test_the_same_source_gives_the_same_bytes(archive, tmp_path):
    one = import_path(archive, "mine", tmp_path / "1.h5")
    two = import_path(archive, "mine", tmp_path / "2.h5")
    assert one.read_bytes() == two.read_bytes()
    with open_dataset(one) as file:
        assert file.sizes == {"train": 35, "val": 5, "test": 10}
        assert file.source[0]["file"] == "a.npz"


def test_the_split_is_recorded(archive, tmp_path):
    path = import_path(archive, "mine", tmp_path / "1.h5", fractions=Fractions(0.2, 0.4, 9))
    with open_dataset(path) as file:
        assert file.split_rule.endswith("test 20 (0.4), val 10 (0.2); PCG64 seed 9")


@pytest.mark.parametrize(
    ("options", "format", "expected"),
    [
        (ImportOptions(size=(2, 2)), None, "--size: does not apply to a data set of format npz"),
        (ImportOptions(label_columns=("a",)), None, "--label-column: does not apply"),
        (
            None,
            "csv",
            "unknown format 'csv' .known: digits, folder, idx, medmnist, nih, npz",
        ),
        (ImportOptions(task="binary"), None, "--task binary is for --format nih"),
        (ImportOptions(views=("PA",)), None, "--views: does not apply"),
        (None, "idx", "a.npz: not the name of an IDX file"),
        (None, "folder", "a.npz: not a folder"),
    ],
)
def test_what_does_not_fit_leaves_nothing(archive, tmp_path, options, format, expected):
    with pytest.raises(BenchError, match=expected):
        import_path(archive, "mine", tmp_path / "out" / "1.h5", format=format, options=options)
    assert not (tmp_path / "out").exists()


def test_a_bad_name_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(BenchError, match=r"name 'a/b': must be of letters"):
        import_path(tmp_path / "missing", "a/b", tmp_path / "1.h5")


def test_too_little_memory(archive, tmp_path, monkeypatch):
    def refuse(*_args):
        raise MemoryError

    monkeypatch.setattr("harness.data.importers.npz._nchw", refuse)
    with pytest.raises(BenchError, match="do not fit into memory"):
        import_path(archive, "mine", tmp_path / "1.h5")


def test_unreadable_folder(archive, tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(BenchError, match="cannot be read: Permission denied"):
        import_path(tmp_path, "mine", tmp_path / "1.h5")
    with pytest.raises(BenchError, match="cannot be read: Permission denied"):
        import_path(tmp_path, "mine", tmp_path / "1.h5", format="idx")


def test_an_unknown_thing_says_what_was_looked_for(tmp_path):
    with pytest.raises(BenchError) as caught:
        importers.recognise(tmp_path)
    for name in ("folder: ", "idx: ", "medmnist: ", "nih: ", "npz: ", "table: "):
        assert name in str(caught.value)
    with pytest.raises(BenchError, match="no such file or folder"):
        importers.recognise(tmp_path / "missing")


def test_two_possible_readings_need_a_word(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / name / "1.png")
    (tmp_path / "labels.csv").write_text("file,label\nx/1.png,a\ny/1.png,b\n")
    with pytest.raises(BenchError, match="could be folder or table; pass --format"):
        importers.recognise(tmp_path)

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.data import fetch
from harness.data.locate import exported, resolve
from harness.data.writer import write_dataset
from harness.errors import BenchError


def test_a_path_is_itself(tmp_path, make_dataset, monkeypatch):
    path = write_dataset(tmp_path / "my.h5", make_dataset())
    assert resolve(str(path), tmp_path / "data") == path
    monkeypatch.chdir(tmp_path)
    assert resolve("my.h5", tmp_path / "data").samefile(path)


def test_a_name_is_a_file_in_the_data_folder(tmp_path, make_dataset):
    path = write_dataset(tmp_path / "mine.h5", make_dataset())
    assert resolve("mine", tmp_path) == path
    assert exported(tmp_path) == {"mine": path}


def test_digits_are_exported_when_first_asked_for(tmp_path, capsys):
    path = resolve("digits", tmp_path / "data")
    assert path == tmp_path / "data" / "digits.h5"
    assert f"digits: exporting to {path}" in capsys.readouterr().err.replace("\n", "")
    before = path.stat()
    assert resolve("digits", tmp_path / "data").stat().st_mtime_ns == before.st_mtime_ns
    assert capsys.readouterr().err == ""


def test_two_processes_may_export_at_once(tmp_path):
    code = (
        "from pathlib import Path; from harness.data.locate import resolve; "
        f"resolve('digits', Path({str(tmp_path)!r}))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["digits.h5"]
    again = fetch.export("digits", tmp_path / "again")
    assert (tmp_path / "digits.h5").read_bytes() == again.read_bytes()


def test_what_needs_a_network_is_not_fetched_unasked(tmp_path):
    with pytest.raises(BenchError, match="get it with `bench data fetch mnist`"):
        resolve("mnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digit", "did you mean 'digits'?"),
        ("minee", "did you mean 'mine'?"),
        ("qqq", "known: chestmnist, digits, fashion-mnist, mine, mnist, nih, pneumoniamnist, "),
        ("none.h5", "none.h5: no such file"),
        ("some/where", "some/where: no such file"),
    ],
)
def test_what_is_not_known(tmp_path, make_dataset, name, expected):
    write_dataset(tmp_path / "mine.h5", make_dataset())
    with pytest.raises(BenchError) as caught:
        resolve(name, tmp_path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_to_be_imported(tmp_path):
    with pytest.raises(BenchError, match="bench data import"):
        resolve(str(tmp_path), tmp_path)


def test_locating_does_not_import_h5py_for_a_file_that_is_there(tmp_path, make_dataset):
    write_dataset(tmp_path / "mine.h5", make_dataset())
    code = (
        "import sys; from pathlib import Path; from harness.data.locate import resolve; "
        f"resolve('mine', Path({str(tmp_path)!r})); assert 'h5py' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Files are written whole or not at all, on disks that are really full."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness import files
from harness.errors import BenchError
from harness.files import check_regular, check_room, new_hdf5, read_bytes, write_atomically

# What libhdf5 does on a full disk ends the whole process, so these run in one of their own.
ARRAYS = """
import sys
from pathlib import Path
import numpy as np
from harness import files
from harness.errors import BenchError
files.IN_MEMORY_BYTES = int(sys.argv[2])
data = np.arange(int(sys.argv[3]), dtype=np.uint8)
try:
    with files.new_hdf5(Path(sys.argv[1]), size=2 * data.nbytes) as f:
        f["first"] = data
        f["second"] = data
except BenchError as error:
    print(error)
"""
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n" + ARRAYS


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("in_memory", [2**27, 0])
def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk, python, in_memory):
    (small_disk / "kept").write_text("kept")
    done = python("-c", ARRAYS, small_disk / "a.h5", in_memory, 10**6)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no space left" in done.stdout.lower()
    assert [file.name for file in small_disk.iterdir()] == ["kept"]


def test_a_limit_on_the_length_of_files_is_such_a_line_too(tmp_path, python):
    for in_memory in (2**27, 0):
        done = python("-c", LIMITED, tmp_path / "a.h5", in_memory, 10**6)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"cannot write {tmp_path / 'a.h5'}: File too large\n"
        assert list(tmp_path.iterdir()) == []


def test_the_export_of_a_data_set_onto_a_full_disk(small_disk, bench):
    (small_disk / "other").write_bytes(bytes(900_000))
    done = bench("data", "export", "digits", "--data-dir", small_disk)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == f"error: cannot write {small_disk / 'digits.h5'}: No space left on device"
    assert [file.name for file in small_disk.iterdir()] == ["other"]


def test_both_ways_of_writing_give_the_same_bytes(tmp_path, small_dataset, monkeypatch):
    from harness.data.writer import write_dataset

    data = small_dataset(sizes=(3000, 9, 12), shape=(1, 28, 28))
    write_dataset(tmp_path / "memory.h5", data)
    monkeypatch.setattr(files, "IN_MEMORY_BYTES", 0)
    write_dataset(tmp_path / "disk.h5", data)
    assert (tmp_path / "memory.h5").read_bytes() == (tmp_path / "disk.h5").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk.h5", "memory.h5"]


def test_room_that_is_not_there_is_told_beforehand(tmp_path):
    check_room(tmp_path, 1)
    with pytest.raises(BenchError, match=r"no space left: 1048576\.0 GiB are needed"):
        check_room(tmp_path, 2**50)


def test_a_failed_body_leaves_nothing(tmp_path):
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), new_hdf5(tmp_path / "a.h5", 10):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_pipes_and_folders_are_no_files(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(BenchError, match="not a file"):
            check_regular(path)
    with pytest.raises(BenchError, match="longer than 1 MiB"):
        read_bytes(Path("/dev/zero"), 2**20)
    write_atomically(tmp_path / "a", "text")
    assert check_regular(tmp_path / "a").st_size == 4
    assert read_bytes(tmp_path / "a", 4) == b"text"

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.cli import main
from harness.data.hdf5 import open_dataset

VERBS = ["list", "export", "fetch", "import", "validate", "info"]


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "400")  # tables are not folded
    return tmp_path / "data"


@pytest.fixture
def flowers(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("rose", "tulip"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flowers" / name / f"{i:02}.png")
    return tmp_path / "flowers"


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "harness", "data", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def call():
    """Call ``bench data`` in this process."""

    def run(*arguments):
        return CliRunner().invoke(main, ["data", *map(str, arguments)])

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_tells_how_to_bring_ones_own_data(call, verb):
    result = call(verb, "--help")
    assert result.exit_code == 0
    assert "bench data import flowers/ --name flowers --size 64" in result.output
    assert "--data-dir" in result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys, harness.cli.data; heavy = {'h5py', 'numpy', 'pandas', 'sklearn', 'pooch', "
        "'PIL', 'rich', 'torch', 'jax'} & set(sys.modules); assert not heavy, heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_import_info_and_validate(data_dir, flowers):
    result = bench("import", flowers, "--name", "flowers", "--size", "6x5", "--license", "CC0")
    path = data_dir / "flowers.h5"
    assert (result.returncode, result.stdout) == (0, f"{path}\n"), result.stderr
    with open_dataset(path) as file:
        assert file.image_shape == (3, 6, 5)
        assert file.sizes == {"train": 28, "val": 4, "test": 8}
        assert file.license == "CC0"
    result = bench("info", "flowers")
    assert result.returncode == 0
    for text in ("rose", "tulip", "3 x 6 x 5", "PCG64 seed 0", "CC0", "flowers/"):
        assert text in result.stdout
    result = bench("validate", path)
    assert (result.returncode, result.stdout) == (0, f"{path}: sound\n")


def test_import_does_not_overwrite_unless_forced(call, data_dir, flowers):
    arguments = ("import", flowers, "--name", "flowers")
    assert call(*arguments).exit_code == 0
    first = (data_dir / "flowers.h5").read_bytes()
    result = call(*arguments, "--channels", "1")
    assert result.exit_code == 2
    assert (data_dir / "flowers.h5").read_bytes() == first
    assert call(*arguments, "--channels", "1", "--force").exit_code == 0
    assert (data_dir / "flowers.h5").read_bytes() != first


def test_import_elsewhere(call, tmp_path, data_dir, flowers):
    out = tmp_path / "new" / "my.h5"
    assert call("import", flowers, "--name", "mine", "--out", out).exit_code == 0
    assert out.is_file()
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "0"],
        ["--size", "10x"],
        ["--format", "nothing"],
        ["--channels", "2"],
        ["--val-fraction", "much"],
        ["--val-fraction", "1.5"],
        ["--layout", "nchw"],
    ],
)
def test_wrong_use_ends_with_2_and_writes_nothing(call, data_dir, flowers, arguments):
    result = call("import", flowers, "--name", "flowers", *arguments)
    assert result.exit_code == 2
    assert not data_dir.exists()


def test_validate_ends_with_1_and_names_each_problem(call, data_dir, flowers):
    call("import", flowers, "--name", "flowers")
    path = data_dir / "flowers.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["mean"] = file.attrs["mean"] + 0.25
        file["val/images"][0] = file["train/images"][0]
    result = bench("validate", "flowers")
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {path}: attribute 'mean' is [")
    assert lines[1] == f"warning: {path}: 1 image(s) of /val also occur in /train"


@pytest.mark.parametrize("verb", ["info", "validate"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"text", "not an HDF5 file"),
        (b"", "0 bytes"),
    ],
)
def test_bad_files_are_one_line(data_dir, tmp_path, verb, content, expected):
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    result = bench(verb, path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {path}: ")
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_export_and_list(data_dir):
    assert "bench data export digits" in bench("list").stdout
    result = bench("export", "digits")
    path = data_dir / "digits.h5"
    assert (result.returncode, result.stdout) == (0, f"{path}\n")
    before = path.stat().st_mtime_ns
    again = bench("export", "digits")
    assert "--force" in again.stderr
    assert path.stat().st_mtime_ns == before
    (data_dir / "broken.h5").write_text("text")
    listed = bench("list").stdout
    assert "1259/179/359" in listed
    assert "unusable" in listed


def test_the_data_folder_can_be_said(tmp_path, data_dir):
    result = bench("export", "digits", "--data-dir", tmp_path / "there")
    assert result.stdout == f"{tmp_path / 'there' / 'digits.h5'}\n"
    assert not data_dir.exists()


def test_unknown_names(data_dir):
    for verb in ("export", "fetch", "info", "validate"):
        result = bench(verb, "digts")
        assert result.returncode == 2
        assert "did you mean 'digits'?" in result.stderr

from __future__ import annotations

import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from harness.cli import main
from harness.data.reader import open_dataset

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
        for i in range(110):
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
        assert file.sizes == {"train": 154, "val": 22, "test": 44}
        assert file.license == "CC0"
    result = bench("info", "flowers")
    assert result.returncode == 0
    for text in ("rose", "tulip", "3 x 6 x 5", "PCG64 seed 0", "CC0", "flowers/"):
        assert text in result.stdout
    result = bench("validate", path)
    assert (result.returncode, result.stdout) == (0, f"{path}: valid\n")


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


@pytest.fixture
def x_rays(tmp_path):
    """Twelve radiographs of six patients in NIH's layout, without lists."""
    root = tmp_path / "x-rays"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(3)
    rows = ["Image Index,Finding Labels,Patient ID,View Position"]
    for number in range(12):
        name = f"{number:08}.png"
        pixels = rng.integers(0, 256, (9, 9), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
        finding = "Mass|Hernia" if number % 3 == 0 else "No Finding"
        rows.append(f"{name},{finding},{number // 2},{'AP' if number == 11 else 'PA'}")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    return root


def test_x_rays_and_what_is_said_of_several_labels(call, data_dir, x_rays):
    arguments = ("import", x_rays, "--format", "nih", "--name", "xr", "--size", 6)
    result = call(*arguments, "--views", "PA", "--limit", 10)
    assert result.exit_code == 0, result.output
    assert [path.name for path in data_dir.iterdir()] == ["xr.h5"]
    result = call("info", "xr")
    assert "multilabel, 14 classes" in result.output
    for row, total in (
        ("Hernia", 4),
        ("Mass", 4),
        ("Edema", 0),
        ("none of them", 6),
        ("images", 10),
        (r"groups \(patients\)", 5),
    ):
        (found,) = re.findall(
            rf"^{row} ((?: +\d+(?: \( ?\d+\.\d%\))?){{3}}) *$", result.output, re.M
        )
        assert sum(map(int, re.findall(r" (\d+)(?= |$)", found))) == total
        assert ("%" in found) == (row[0] in "HMEn")
    assert "multilabel (14)" in call("list").output
    assert call(*arguments, "--task", "binary", "--force").exit_code == 0
    assert "No Finding" in call("info", "xr").output


def test_info_reports_groups_in_two_splits(call, data_dir, x_rays):
    call("import", x_rays, "--name", "xr")
    assert "group(s)" not in call("info", "xr").output
    with h5py.File(data_dir / "xr.h5", "r+") as file:
        file["test/group"][0] = file["train/group"][0]
    assert "1 group(s) in both /train and /test" in call("info", "xr").output


def test_missing_images_are_refused_unless_allowed(call, data_dir, x_rays):
    (x_rays / "images" / "00000004.png").unlink()
    (x_rays / "images" / "00000006.png").write_text("no picture")
    arguments = ("import", x_rays, "--name", "xr")
    result = call(*arguments)
    assert result.exit_code == 2
    assert "1 of 12 images are missing (00000004.png)" in result.output.replace("\n", " ")
    assert call(*arguments, "--allow-missing").exit_code == 0
    with open_dataset(data_dir / "xr.h5") as file:
        assert sum(file.sizes.values()) == 10


def test_nih_cannot_be_fetched_without_kaggle(call, data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub.config", None)
    result = call("fetch", "nih")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: nih: not fetched: ")


def test_the_data_folder_can_be_said(tmp_path, data_dir):
    result = bench("export", "digits", "--data-dir", tmp_path / "there")
    assert result.stdout == f"{tmp_path / 'there' / 'digits.h5'}\n"
    assert not data_dir.exists()


def test_unknown_names(data_dir):
    for verb in ("export", "fetch", "info", "validate"):
        result = bench(verb, "digts")
        assert result.returncode == 2
        assert "did you mean 'digits'?" in result.stderr


# Validation and the account of an import ---------------------------------------------------------


@pytest.fixture
def leaking(tmp_path):
    """A table whose own splits share a patient."""
    folder = tmp_path / "leaking"
    folder.mkdir()
    rng = np.random.default_rng(7)
    rows = ["file,label,patient,split"]
    for number in range(90):
        pixels = rng.integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = ("train", "val", "test")[number // 30]
        patient = 0 if number in (0, 89) else number
        rows.append(f"{number}.png,{'xy'[number % 2]},{patient},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_an_invalid_data_set_is_not_written(call, data_dir, leaking):
    result = call("import", leaking, "--name", "leak")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "1 group(s) in both /train and /test" in result.stderr
    assert "pass --keep-invalid" in result.stderr
    assert not list(data_dir.iterdir())
    assert call("import", leaking, "--name", "leak", "--keep-invalid").exit_code == 0
    before = (data_dir / "leak.h5").read_bytes()
    assert call("import", leaking, "--name", "leak", "--force").exit_code == 1
    assert (data_dir / "leak.h5").read_bytes() == before


def test_an_invalid_data_set_is_not_trained_on(call, data_dir, leaking, tmp_path):
    call("import", leaking, "--name", "leak", "--keep-invalid")
    result = CliRunner().invoke(
        main, ["run", "--frameworks", "torch", "--datasets", "leak", "--out", str(tmp_path / "run")]
    )
    assert result.exit_code == 2
    assert "invalid: 1 group(s) in both /train and /test" in result.output.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_an_import_tells_what_it_did_and_the_file_keeps_it(call, data_dir, flowers):
    (flowers / "rose" / "notes.txt").write_text("text")
    result = call("import", flowers, "--name", "flowers")
    assert result.exit_code == 0
    assert result.stdout == f"{data_dir / 'flowers.h5'}\n"
    told = [
        ("found", "221 files"),
        ("used", "220 images, 2 classes"),
        ("left out", "1 files: not images (rose/notes.txt)"),
        ("split", "154 train, 22 val, 44 test: the source has one set; taken from train"),
    ]
    info = call("info", "flowers").output
    for heading, text in told:
        assert f"{heading}: {text}" in result.stderr
        assert re.search(rf"^{heading} +{re.escape(text)}", info, re.M)


def test_two_readings_end_with_2_and_yes_takes_the_default(call, data_dir, flowers):
    (flowers / "train").mkdir()
    for name in ("rose", "tulip"):
        (flowers / name).rename(flowers / "train" / name)
    (flowers / "extra" / "rose").mkdir(parents=True)
    Image.new("RGB", (8, 9)).save(flowers / "extra" / "rose" / "0.png")
    result = call("import", flowers, "--name", "f")
    assert result.exit_code == 2
    assert "pass --ignore extra (--yes: left out)" in result.stderr
    assert not data_dir.exists()
    result = call("import", flowers, "--name", "f", "--yes")
    assert result.exit_code == 0
    assert "extra/ beside the folders of the splits: left out (--yes)" in result.stderr


def test_warnings_of_libraries_are_one_line(call, data_dir, flowers):
    """Pillow warns of EXIF data that end too early."""
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01"
    Image.new("RGB", (8, 9), (1, 2, 3)).save(flowers / "rose" / "000.jpg", exif=exif)
    result = bench("import", flowers, "--name", "flowers")
    assert result.returncode == 0
    assert "warning: Corrupt EXIF data" in result.stderr
    assert "UserWarning" not in result.stderr
    assert ".py:" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--window", "5"], "expected two numbers as LOW:HIGH"),
        (["--window", "0:inf"], "must be finite"),
        (["--window", "9:1"], "the second value must be the larger one"),
        (["--bit-depth", "3"], "must be 8 to 16"),
        (["--bit-depth", "12", "--window", "0:1"], "pass one of them"),
        (["--delimiter", "ab"], "expected one character"),
        (["--label-separator", " "], "expected a sign, or none"),
        (["--group-column", "a", "--no-group"], "pass one of them"),
        (["--first-label", "2"], "first-label"),
    ],
)
def test_unusable_options_end_with_2(call, data_dir, flowers, arguments, expected):
    result = call("import", flowers, "--name", "f", *arguments)
    assert result.exit_code == 2
    assert expected in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_many_classes_do_not_fill_the_screen(call, data_dir, tmp_path):
    folder = tmp_path / "many"
    rng = np.random.default_rng(1)
    for number in range(40):
        (folder / f"class-{number}").mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (3, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{number}" / f"{i}.png")
    result = call("import", folder, "--name", "many")
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) <= 20
    assert max(map(len, result.stderr.splitlines())) < 1000

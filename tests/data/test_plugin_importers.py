"""An importer of another package works everywhere without a change in this repository."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from harness import plugins
from harness.cli import main
from harness.data.importers.base import RawDataset
from harness.data.importers.options import Option
from harness.data.reader import open_dataset
from harness.data.schema import Split
from harness.errors import BenchError


class Bars:
    """Reads ``*.bars``: one number a line, drawn as a bar of that height."""

    NAME = "bars"
    DESCRIPTION = "a .bars file of numbers"
    USES = frozenset({"classes"})
    OPTIONS = {  # noqa: RUF012
        "side": Option("Pixels a side.", parse=int, default=8, metavar="N"),
        "fill": Option("How bars are drawn.", choices=("solid", "hollow"), default="solid"),
    }

    @staticmethod
    def recognises(path):
        return path.suffix == ".bars"

    @staticmethod
    def load(path, options):
        side, value = options.own["side"], {"solid": 255, "hollow": 128}[options.own["fill"]]
        heights = np.array(path.read_text().split(), dtype=int)
        images = np.zeros((len(heights), 1, side, side), np.uint8)
        for image, height in zip(images, heights, strict=True):
            image[0, : height % side] = value
        labels = (heights % 2).astype(np.uint8)
        return RawDataset(
            "multiclass", options.classes or ("even", "odd"), {"train": Split(images, labels)}
        )


@pytest.fixture
def planted(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    found = {**plugins.importers(), "bars": Bars}
    monkeypatch.setattr(plugins, "importers", lambda: found)
    path = tmp_path / "my.bars"
    path.write_text("\n".join(map(str, range(1, 121))))
    return path


def call(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_it_is_listed(planted):
    assert "idx|medmnist" in call("import", "--help").output.replace("\n", "").replace(" ", "")
    assert "bars" in call("import", "--help").output
    assert "bars" in call("list").stderr
    shown = call("formats").output
    assert (
        "bars: a .bars file of numbers\n  --classes\n  --option side=N: Pixels a side.\n" in shown
    )
    assert "--option fill=TEXT: How bars are drawn. (solid, hollow)" in shown


@pytest.mark.parametrize("named", [[], ["--format", "bars"]])
def test_it_is_recognised_and_imports(planted, tmp_path, named):
    result = call("import", planted, "--name", "mine", *named)
    assert result.exit_code == 0, result.output
    with open_dataset(tmp_path / "data" / "mine.h5") as file:
        assert file.image_shape == (1, 8, 8)
        assert file.classes == ("even", "odd")


def test_its_own_options(planted, tmp_path):
    options = ["--option", "side=6", "--option", "fill=hollow", "--classes", "a,b"]
    assert call("import", planted, "--name", "mine", *options).exit_code == 0
    with open_dataset(tmp_path / "data" / "mine.h5") as file:
        assert file.image_shape == (1, 6, 6)
        assert file.split("train").all_images().max() == 128
        assert file.classes == ("a", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--option", "sied=6"], "unknown option of format bars 'sied'; did you mean 'side'?"),
        (["--option", "side=x"], "--option side: invalid literal for int()"),
        (["--option", "fill=red"], "--option fill: 'red': expected one of solid, hollow"),
        (["--option", "side"], "'side': expected NAME=VALUE"),
        (["--option", "side=6", "--option", "side=7"], "'side' is given twice"),
        (["--size", "6"], "--size: does not apply to a data set of format bars"),
        (["--format", "bras"], "unknown format 'bras'; did you mean 'bars'?"),
    ],
)
def test_what_it_does_not_take(planted, tmp_path, options, message):
    result = call("import", planted, "--name", "mine", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "data").exists()


def test_an_option_of_its_own_is_none_of_another(planted, tmp_path):
    folder = tmp_path / "a.npz"
    np.savez(folder, images=np.zeros((4, 2, 2), np.uint8), labels=np.arange(4) % 2)
    result = call("import", folder, "--name", "a", "--option", "side=6")
    assert result.exit_code == 2
    assert "unknown option of format npz 'side'" in result.stderr


def test_an_importer_that_fails_is_an_error_of_the_person_only_if_it_says_so(planted, monkeypatch):
    def load(path, options):
        raise BenchError(f"{path}: no bars")

    monkeypatch.setattr(Bars, "load", staticmethod(load))
    result = call("import", planted, "--name", "mine")
    assert (result.exit_code, result.stderr) == (2, f"error: {planted}: no bars\n")

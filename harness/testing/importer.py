"""What every importer has to fulfil; see ``harness.data.importers`` for the contract."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.data import importers
from harness.data.importers import Importer
from harness.data.importers.options import Option, declared
from harness.data.importing import import_path
from harness.data.validate import validate
from harness.errors import BenchError
from harness.testing.subject import chosen


class ImporterConformance:
    """Tests of an importer; a subclass whose name begins with ``Test`` names it.

    The subclass overrides the fixture ``sample`` with one that writes a small data set in the
    format, and returns its path; from the command line ``--sample`` gives it.
    """

    importer: str = ""
    """Name of the importer; empty: those of the option ``--importer``."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        names = [self.importer] if self.importer else chosen("importer", metafunc.config)
        metafunc.parametrize("name", names)

    @pytest.fixture
    def sample(self, request: pytest.FixtureRequest) -> Path:
        path = request.config.getoption("sample", None)
        if path is None:
            pytest.skip("no --sample PATH")
        assert isinstance(path, Path)
        return path

    @pytest.fixture
    def source(self, name: str) -> Importer:
        return importers.get(name)

    def test_says_what_it_is(self, source: Importer, name: str) -> None:
        assert name == source.NAME
        assert source.DESCRIPTION
        assert "\n" not in source.DESCRIPTION
        assert declared().keys() - {"yes"} >= source.USES, "USES names fields of ImportOptions"
        assert all(isinstance(each, Option) for each in importers.own_options(source).values())

    def test_recognises_nothing_in_other_files(self, source: Importer, tmp_path: Path) -> None:
        for path in strangers(tmp_path):
            assert not source.recognises(path), path
        assert not source.recognises(tmp_path / "missing")

    def test_refuses_other_files_in_words(self, name: str, tmp_path: Path) -> None:
        if importers.is_embedded(name):
            pytest.skip(f"{name} reads no files")
        for path in strangers(tmp_path):
            with pytest.raises(BenchError):
                import_path(path, "junk", tmp_path / "junk.h5", format=name)
            assert not (tmp_path / "junk.h5").exists()

    def test_writes_a_valid_file_from_the_sample(
        self, source: Importer, name: str, sample: Path, tmp_path: Path
    ) -> None:
        assert source.recognises(sample)
        out = import_path(sample, "sample", tmp_path / "sample.h5", format=name)
        assert [p.message for p in validate(out) if p.severity == "error"] == []
        again = import_path(sample, "sample", tmp_path / "again.h5", format=name)
        assert out.read_bytes() == again.read_bytes(), "equal input, equal bytes"

    def test_recognised_without_its_name(self, name: str, sample: Path) -> None:
        assert name == importers.recognise(sample).NAME

    def test_a_damaged_sample_raises_no_other_exception(
        self, name: str, sample: Path, tmp_path: Path
    ) -> None:
        """Half of its largest file is missing: it is refused in words, or read without the rest."""
        damaged = tmp_path / "damaged" / sample.name
        damaged.parent.mkdir()
        if sample.is_dir():
            shutil.copytree(sample, damaged)
        else:
            shutil.copy(sample, damaged)
        files = [path for path in (damaged, *damaged.rglob("*")) if path.is_file()]
        largest = max(files, key=lambda path: path.stat().st_size)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2 - 1])
        out = tmp_path / "damaged.h5"
        try:
            import_path(damaged, "damaged", out, format=name)
        except BenchError:
            assert not out.exists()
        else:
            assert [p.message for p in validate(out) if p.severity == "error"] == []


def strangers(folder: Path) -> list[Path]:
    """Paths that no importer takes for its own: an empty folder, a text, random bytes."""
    empty, text, binary = folder / "empty", folder / "notes.md", folder / "noise.bin"
    empty.mkdir()
    text.write_text("Nothing to import here.\n", encoding="utf-8")
    binary.write_bytes(bytes(range(256)) * 40)
    return [empty, text, binary]

"""The reference reports in ``report/``: real runs, kept with the results they are rendered from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.analysis.summary import RunSummary, summarise
from harness.parity.certificate import FILE, read_certificate
from harness.report import html
from harness.report.markdown import figures, pages

REPORTS = Path(__file__).parents[2] / "report"
NAMES = ("digits", "mnist", "nih1000", "pneumoniamnist")


@pytest.fixture(scope="module", params=NAMES)
def reference(request) -> RunSummary:
    return summarise(REPORTS / request.param)


def test_every_folder_is_tested() -> None:
    assert sorted(path.parent.name for path in REPORTS.glob("*/report.md")) == sorted(NAMES)


@pytest.mark.parametrize("page", ["report.md", "details.md"])  # code.md shows today's code
def test_this_version_renders_the_same(reference, page) -> None:
    folder = reference.run.folder.path
    kept = (folder / page).read_text(encoding="utf-8")
    assert pages(reference)[page] == kept, f"bench report report/{folder.name} renders it again"


def test_everything_that_the_report_links_is_there(reference) -> None:
    folder = reference.run.folder.path
    assert {path.name for path in (folder / "figures").iterdir()} == {
        Path(name).name for name in figures(reference)
    }
    assert (folder / html.FILE).is_file()


def test_every_training_succeeded_and_was_proven(reference) -> None:
    folder = reference.run.folder
    assert [result.status for result in folder.results()] == ["ok"] * len(folder.manifest.cells)
    certificate = read_certificate(folder.path)
    assert certificate is not None, f"bench parity --run report/{folder.path.name} makes {FILE}"
    assert certificate.frameworks == {cell.framework for cell in folder.manifest.cells}


def test_no_folder_of_the_machine_is_named(reference) -> None:
    files = sorted(reference.run.folder.path.rglob("*.json"))
    assert len(files) > 5
    for path in files:
        named = [text for text in strings(json.loads(path.read_bytes())) if text.startswith("/")]
        assert named == [], f"{path}: folders of a machine are shortened to ~"


def strings(value: object) -> Iterator[str]:
    """Every string in what a JSON file holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)

"""What a report says of plain, tuned, bound and idiom variants."""

from __future__ import annotations

from collections.abc import Callable

from harness.compare import compare
from harness.report.render import render
from harness.results.folder import RunFolder

MakeRun = Callable[..., RunFolder]


def test_a_run_of_a_former_name_opens_and_is_shown_under_the_present_one(
    make_run: MakeRun,
) -> None:
    folder = make_run(frameworks=("torch", "julia-reference"), seeds=(0,))
    for path in [folder.path / "experiment.json", *(folder.path / "cells").iterdir()]:
        if path.suffix == ".json":
            path.write_text(path.read_text().replace("julia-reference", "julia"))
        path.rename(path.with_name(path.name.replace("julia-reference", "julia")))

    again = RunFolder.open(folder.path)
    assert again.manifest.experiment.frameworks == ("torch", "julia-reference")
    assert [result.cell.framework for result in again.results()] == ["torch", "julia-reference"]
    assert all(again.read_arrays(cell) is not None for cell in again.manifest.cells)
    report = render(folder.path).read_text()
    assert "`julia-reference`" in report
    assert "`julia`" not in report.split("## How each framework does it")[0]
    (row,) = compare([folder.path, folder.path], rows=["julia/*/*"]).rows
    assert row.key.framework == "julia-reference"

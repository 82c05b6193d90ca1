"""What a report says of plain, tuned, bound and idiom variants."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

import pytest
from rich.console import Console

from harness.analysis.compare import compare
from harness.plugins import backends
from harness.report.render import render
from harness.report.terminal import headline_table
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


def test_plain_variants_alone_are_ranked_and_head_the_report(make_run: MakeRun) -> None:
    frameworks = ("julia-reference", "torch", "torch-compile", "jax", "jax-s2d", "knet")
    seconds = dict(zip(frameworks, (0.1, 0.5, 0.3, 0.4, 0.2, 0.6), strict=True))
    folder = make_run(frameworks=frameworks, seconds=seconds, seeds=(0,), epochs=12)
    report = render(folder.path).read_text()
    opening = report.splitlines()[2]
    assert opening.startswith("JAX (Flax NNX) trained fastest")
    assert not any(word in opening for word in ("torch.compile", "space-to-depth", "reference"))
    assert list(rows(report, "Framework")) == ["PyTorch", "JAX (Flax NNX)", "Julia (Knet.jl)"]

    tuned = rows(report, "Tuned variant")
    assert list(tuned) == ["PyTorch (torch.compile)", "JAX (space-to-depth)"]
    assert tuned["JAX (space-to-depth)"][0].startswith("space-to-depth: convolutions of few")
    assert tuned["PyTorch (torch.compile)"][3].startswith("1.6")  # 0.5 s over 0.3 s
    assert tuned["JAX (space-to-depth)"][3].startswith("2.0")  # over jax, not over torch
    bound = rows(report, "Bound")
    assert list(bound) == ["Julia (reference engine)"]
    assert bound["Julia (reference engine)"][3].startswith(("4.9", "5.0"))

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(headline_table(folder))
    shown = console.export_text()
    order = ("PyTorch ", "Julia (Knet.jl)", "tuned variant", "what this CPU allows")
    places = [shown.index(word) for word in order]
    assert places == sorted(places)


def test_without_plain_variants_the_tuned_ones_are_compared(make_run: MakeRun) -> None:
    frameworks = ("torch-compile", "jax-s2d")
    folder = make_run(frameworks=frameworks, seeds=(0,))
    report = render(folder.path).read_text()
    assert list(rows(report, "Framework")) == ["PyTorch (torch.compile)", "JAX (space-to-depth)"]


def test_an_idiom_is_in_no_ranking_pair_or_check(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    idiom = replace(
        backends()["knet"], name="idiom", title="The idiom", role="idiom", deviation="own batches"
    )
    monkeypatch.setitem(backends(), "idiom", idiom)
    folder = make_run(
        frameworks=("torch", "jax", "idiom"),
        seconds={"idiom": 0.01},
        identity={("idiom", 0): {"batch_order": "f" * 64}},
        seeds=(0,),
    )
    report = render(folder.path).read_text()
    assert "The idiom" not in report.splitlines()[2]
    assert "NOT IDENTICAL" not in report
    assert rows(report, "As its tutorial writes it")["The idiom"][0] == "own batches"
    assert "In no certificate: The idiom (own batches)." in report
    assert "The idiom and" not in report.split("## Accuracy, pair by pair")[1].split("##")[0]


def rows(report: str, first: str) -> dict[str, list[str]]:
    """Rows of the first table whose first column is called ``first``."""
    lines = iter(report.splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    cells = [line.strip("| ").split(" | ") for line in takewhile(lambda x: x[:1] == "|", lines)]
    return {row[0]: row[1:] for row in cells[1:]}

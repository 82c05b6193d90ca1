"""Finding the files of a family, and what some rows have besides."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.backends.registry import BACKENDS
from harness.models import MODELS
from harness.report.families import EXTRAS, FAMILIES, NOTES
from harness.report.sources import ROOTS, extras, parts, whole

FILES = {
    "harness/backends/torch/models/lenet5.py": "a = 1\n",
    "harness/backends/torch/models/network.py": "e = 1\n",
    "harness/backends/torch/train.py": "b = 1\nc = 2\n",
    "harness/backends/torch/data.py": "d = 1\n",
    "harness/backends/jax/data.py": "def (:\n",
    "julia/src/models/lenet5.jl": '"Doc."\na = 1\n',
    "julia/src/models/layers.jl": "b = 1\nc = 2\n",
    "julia/src/models/other.jl": "a = 1\n",
    "julia/src/train.jl": "b = 1\n",
    "julia/src/data.jl": "c = 1\n",
    "julia/src/standard/one.jl": "d = 1\n",
    "julia/src/standard/two.jl": "e = 1\nf = 2\n",
}

MODULES = {card.module: card.title for card in MODELS.values()}


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    """The layout of an installed package: ``julia`` lies inside it, under another name."""
    roots = {"harness": tmp_path / "package", "julia": tmp_path / "package" / "_julia"}
    for name, text in FILES.items():
        top, _, below = name.partition("/")
        path = roots[top] / below
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return roots


def test_parts_are_those_with_all_their_files(roots: dict[str, Path]) -> None:
    found = parts(("torch", "julia"), {"lenet5": "LeNet-5"}, roots)
    assert [part.title for part in found] == ["model: LeNet-5", "training", "data loading"]
    model, training, data = found
    assert [source.path for source in model.sources["julia"]] == [
        "julia/src/models/lenet5.jl",
        "julia/src/models/layers.jl",
    ]
    assert [source.language.fence for source in model.sources["julia"]] == ["julia", "julia"]
    assert (model.lines("torch"), model.lines("julia")) == (2, 3)
    assert training.lines("torch") == 2
    assert training.lines("julia") is None, "optimizers.jl is not there"
    assert data.lines("julia") == 1
    assert whole(found, "torch") == 5
    assert whole(found, "julia") is None


def test_a_file_of_two_parts_is_summed_once(roots: dict[str, Path]) -> None:
    found = parts(("julia",), {"lenet5": "LeNet-5", "other": "Other"}, roots)[:2]
    assert [part.lines("julia") for part in found] == [3, 3]
    assert whole(found, "julia") == 4


def test_a_file_that_cannot_be_read_is_shown_uncounted(roots: dict[str, Path]) -> None:
    (part,) = parts(("jax",), {}, roots)
    assert part.lines("jax") is None
    assert whole([part], "jax") is None
    assert part.sources["jax"][0].text == "def (:\n"


def test_extras_are_those_of_the_rows(roots: dict[str, Path]) -> None:
    assert extras({"torch": BACKENDS["torch"]}, ["lenet5"], roots) == []
    (engine,) = extras({"julia-reference": BACKENDS["julia-reference"]}, ["lenet5"], roots)
    assert engine.title.startswith("only in Julia (reference engine): ")
    assert engine.lines("julia") == 3
    assert not engine.shown


def test_extras_for_one_network_stand_only_beside_it() -> None:
    rows = {name: BACKENDS[name] for name in ("torch-compile", "jax-s2d")}
    assert len(extras(rows, ["lenet5", "xraynet"])) == 4
    assert len(extras(rows, ["xraynet"])) == 2
    assert extras(rows, ["resnet18"]) == []


def test_a_network_that_a_family_lacks_is_left_empty(roots: dict[str, Path]) -> None:
    found = parts(("torch", "julia"), {"lenet5": "LeNet-5", "other": "Other"}, roots)
    other = next(part for part in found if part.title == "model: Other")
    assert set(other.sources) == {"julia"}
    assert other.lines("torch") is None
    assert whole(found, "torch") is None
    assert parts(("torch",), {"absent": "Absent"}, roots)[0].title == "training"


def test_extras_of_several_rows_name_those_of_the_run() -> None:
    both = {name: BACKENDS[name] for name in ("knet", "julia-reference")}
    titles = [part.title for part in extras(both, MODULES)]
    assert titles[0].startswith("in Julia (Knet.jl) and Julia (reference engine): calling Julia")
    assert titles[1].startswith("only in Julia (Knet.jl): ")
    driver, _ = extras({"julia-reference": BACKENDS["julia-reference"]}, MODULES)
    assert driver.title.startswith("in Julia (reference engine): calling Julia")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_every_part(family: str) -> None:
    found = parts((family,), MODULES)
    assert len(found) == len(MODULES) + 2
    assert (whole(found, family) or 0) > 50


def test_the_tables_know_every_row() -> None:
    assert set(FAMILIES) == {spec.family for spec in BACKENDS.values()}
    assert {row for extra in EXTRAS for row in extra.rows} | set(NOTES) <= set(BACKENDS)
    assert len(extras(BACKENDS, MODULES)) == len(EXTRAS)


def test_the_julia_package_is_accounted_for() -> None:
    """Whatever is added to it is counted somewhere, or only ties the rest together."""
    found = [*parts(("julia",), MODULES), *extras(BACKENDS, MODULES)]
    listed = {file.path for part in found for files in part.sources.values() for file in files}
    there = {
        f"julia/{path.relative_to(ROOTS['julia']).as_posix()}"
        for folder in ("src", "knet/src")
        for path in (ROOTS["julia"] / folder).rglob("*.jl")
    }
    assert there - listed == {
        "julia/src/PipelineBench.jl",
        "julia/src/pipeline.jl",
        "julia/src/sampler.jl",
        "julia/src/models/models.jl",
    }

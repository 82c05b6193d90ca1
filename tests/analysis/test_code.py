"""Finding the code of a family, and what some variants have besides."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.code import extras, parts, whole
from harness.backends.julia.packages import julia_dir
from harness.backends.spec import BackendSpec, ExtraCode, Family, in_package
from harness.models.card import ModelCard
from harness.plugins import backends, models

FILES = {
    "planted_code/__init__.py": "",
    "planted_code/net/__init__.py": "",
    "planted_code/net/quick.py": "a = 1\n",
    "planted_code/net/quick_tuned.py": "a = 1\nb = 2\nc = 3\n",
    "planted_code/layers.py": "e = 1\n",
    "planted_code/train.py": "b = 1\nc = 2\n",
    "planted_code/data.py": "d = 1\n",
    "planted_code/broken.py": "def (:\n",
    "elsewhere/train.jl": '"Doc."\na = 1\n',
}
CARDS = list(models().values())


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Of a model in a package of its own."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield replace(CARDS[0], name="net", title="Net", package="planted_code.net")
    for name in [name for name in sys.modules if name.startswith("planted_code")]:
        del sys.modules[name]


@pytest.fixture
def spec(tmp_path: Path) -> BackendSpec:
    family = Family(
        name="quick",
        network=("planted_code/layers.py",),
        training=("planted_code/train.py",),
        data=("planted_code/data.py",),
        versions=(),
    )
    return BackendSpec(
        name="quick",
        title="Quick",
        family=family,
        factory="",
        summary="",
        install="",
        find_network=in_package("quick"),
    )


def changed(spec: BackendSpec, **changes: object) -> BackendSpec:
    return replace(spec, family=replace(spec.family, **changes))


def test_parts_hold_the_files_of_the_network_training_and_data(spec, card) -> None:
    model, training, data = found = parts([spec], [card])
    assert [part.title for part in found] == ["model: Net", "training", "data loading"]
    assert [file.path for file in model.sources["quick"]] == [
        "planted_code/net/quick.py",
        "planted_code/layers.py",
    ]
    assert [part.lines("quick") for part in (model, training, data)] == [2, 2, 1]
    assert whole(found, "quick") == 5


def test_a_part_with_a_missing_file_is_left_out(spec, card) -> None:
    lacking = changed(spec, training=("planted_code/train.py", "planted_code/absent.py"))
    assert [part.title for part in parts([lacking], [card])] == ["model: Net", "data loading"]


def test_a_file_of_two_parts_is_summed_once(spec, card) -> None:
    twice = changed(spec, data=("planted_code/train.py",))
    assert whole(parts([twice], [card]), "quick") == 4


def test_a_file_that_cannot_be_read_is_shown_uncounted(spec, card) -> None:
    found = parts([changed(spec, training=("planted_code/broken.py",))], [card])
    training = found[1]
    assert training.lines("quick") is None
    assert whole(found, "quick") is None
    assert training.sources["quick"][0].text == "def (:\n"


def test_files_outside_python_packages_have_roots_of_their_own(spec, card, tmp_path) -> None:
    outside = changed(
        spec, training=("other/train.jl",), roots=lambda: {"other": tmp_path / "elsewhere"}
    )
    (source,) = parts([outside], [card])[1].sources["quick"]
    assert (source.path, source.language.fence, source.lines) == ("other/train.jl", "julia", 1)


def test_a_network_that_a_family_lacks_is_left_empty(spec, card) -> None:
    other = replace(spec, name="other", family=replace(spec.family, name="other"))
    other = replace(other, find_network=in_package("absent"))
    found = parts([spec, other], [card])
    assert found[0].lines("other") is None
    assert whole(found, "other") is None


def test_a_variant_shows_its_own_network_and_further_code(spec, card, monkeypatch) -> None:
    monkeypatch.setitem(backends(), "quick", spec)
    extra = ExtraCode(title="a bridge", files=("planted_code/train.py",), shown=False)
    tuned = replace(
        spec,
        name="quick-tuned",
        title="Quick (tuned)",
        find_network=in_package("quick_tuned", "quick"),
        network_code=("planted_code/layers.py",),
        extra_code=(extra,),
        role="tuned",
        base="quick",
        deviation="other layers",
    )
    network, bridge = extras({"quick-tuned": tuned}, [card])
    assert network.title == "only in Quick (tuned): its own model: Net"
    assert network.lines("quick") == 4
    assert (bridge.title, bridge.shown) == ("only in Quick (tuned): a bridge", False)
    both = {"quick": replace(spec, extra_code=(extra,)), "quick-tuned": tuned}
    assert extras(both, [])[0].title == "in Quick, Quick (tuned): a bridge"
    assert extras({"quick": spec}, [card]) == []


@pytest.mark.parametrize("name", backends())
def test_every_backend_accounts_for_its_code(name: str) -> None:
    spec = backends()[name]
    found = parts([spec], CARDS)
    networks = {spec.find_network(card) for card in CARDS} - {None}
    assert len(found) == len(networks) + 2
    assert (whole(found, spec.family.name) or 0) > 50
    assert len(extras({name: spec}, CARDS)) >= len(spec.extra_code)


def test_the_julia_package_is_accounted_for() -> None:
    """Whatever is added to it is counted somewhere, or only ties the rest together."""
    specs = {name: spec for name, spec in backends().items() if spec.family.name == "julia"}
    found = [*parts([next(iter(specs.values()))], CARDS), *extras(specs, CARDS)]
    listed = {file.path for part in found for files in part.sources.values() for file in files}
    there = {
        f"julia/{path.relative_to(julia_dir()).as_posix()}"
        for path in julia_dir().rglob("*.jl")
        if "test" not in path.parts
    }
    assert there - listed == {
        "julia/src/PipelineBench.jl",
        "julia/src/pipeline.jl",
        "julia/src/sampler.jl",
        "julia/src/networks.jl",
    }

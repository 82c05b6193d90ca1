from __future__ import annotations

from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest

from harness.backends import spec
from harness.backends.torch import plugin
from harness.config import Experiment
from harness.errors import BenchError
from harness.parity.certificate import check_certified
from harness.plugins import backends, choose_backends, find_backend


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Makes only these packages be found, a compiler and no Julia."""
    monkeypatch.delenv("PYTHON_JULIACALL_EXE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def only(*packages):
        monkeypatch.setattr(
            spec.util, "find_spec", lambda name: object() if name in packages else None
        )
        monkeypatch.setattr(
            plugin.shutil, "which", lambda name: None if name == "julia" else f"/usr/bin/{name}"
        )

    return only


@pytest.mark.parametrize(
    ("name", "message"),
    [("torhc", "did you mean 'torch'"), ("zzz", r"unknown framework 'zzz' \(known: torch, ")],
)
def test_unknown_framework(name, message):
    with pytest.raises(BenchError, match=message):
        find_backend(name)
    with pytest.raises(BenchError, match=message):
        choose_backends([name], skip_unavailable=True)


def test_a_missing_package_is_refused_with_the_command_that_installs_it(installed):
    installed("torch", "jax", "optax")
    with pytest.raises(BenchError) as caught:
        choose_backends(["torch", "jax"], skip_unavailable=False)
    message = str(caught.value)
    assert "'jax' not installed: flax; to fix: pip install 'pipeline-bench[jax]'" in message
    assert "--skip-unavailable" in message
    assert "'torch' not" not in message


def test_a_missing_package_is_skipped_on_request(installed):
    installed("torch")
    specs, skipped = choose_backends(["jax", "torch"], skip_unavailable=True)
    assert [spec.name for spec in specs] == ["torch"]
    assert list(skipped) == ["jax"]
    assert "not installed: jax, flax, optax" in skipped["jax"]


def test_without_names_every_default_backend_that_is_ready(installed):
    installed("jax", "flax", "optax")
    specs, skipped = choose_backends([], skip_unavailable=False)
    assert [spec.name for spec in specs] == [
        name
        for name, spec in backends().items()
        if spec.packages == ("jax", "flax", "optax") and spec.by_default
    ]
    defaults = {name for name, spec in backends().items() if spec.by_default}
    assert set(skipped) == defaults - {spec.name for spec in specs}


def test_variants_run_only_when_named(installed):
    installed("torch", "jax", "flax", "optax")
    variants = ["torch-channels-last", "jax-scan", "jax-bf16"]
    assert not set(variants) & {s.name for s in choose_backends([], skip_unavailable=False)[0]}
    assert [s.name for s in choose_backends(variants, skip_unavailable=False)[0]] == variants


def test_a_row_with_fewer_digits_is_never_in_the_default_set():
    reduced = {name for name, spec in backends().items() if spec.lower_precision}
    assert reduced == {"torch-bf16", "jax-bf16"}
    assert not any(backends()[name].by_default for name in reduced)


@pytest.mark.parametrize("names", [[], ["torch", "jax"]])
def test_none_is_ready(installed, names):
    installed()
    with pytest.raises(BenchError, match="no framework is ready: 'torch' not installed: torch"):
        choose_backends(names, skip_unavailable=True)


def test_a_compiler_is_a_need_of_its_own(installed, monkeypatch):
    installed("torch")
    monkeypatch.setattr(plugin.shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match=r"'torch-compile' needs a C\+\+ compiler; .* g\+\+"):
        choose_backends(["torch-compile"], skip_unavailable=False)
    assert choose_backends(["torch"], skip_unavailable=False)[1] == {}


def test_rows_in_julia_say_how_to_get_it(installed):
    installed()
    for name in ("knet", "julia-reference"):
        with pytest.raises(BenchError, match=r"found no Julia .*; to fix: bench setup julia"):
            choose_backends([name], skip_unavailable=False)
        assert (backends()[name].versions(), backends()[name].location()) == ({}, "")


def test_the_registry_asks_julia_nothing_until_somebody_wants_to_know(python):
    code = "import sys, harness.cli.run; exit('harness.backends.julia' in sys.modules)"
    assert python("-c", code).returncode == 0


def test_where_a_python_package_lies(ready):
    ready("torch")
    assert Path(backends()["torch"].location(), "__init__.py").is_file()
    assert set(backends()["torch"].versions()) == {"torch"}


@pytest.mark.parametrize("name", backends())
def test_the_factory_of_each_backend_is_a_module_that_exists(name):
    module, _, attribute = backends()[name].factory.partition(":")
    origin = util.find_spec(f"harness.backends.{backends()[name].family.name}").origin
    file = origin.replace("__init__.py", module.rpartition(".")[2] + ".py")
    with open(file, encoding="utf-8") as source:
        assert f"class {attribute}(" in source.read()


def test_roles_of_the_variants():
    roles = {name: (spec.role, spec.base) for name, spec in backends().items()}
    assert {name for name, (role, _) in roles.items() if role == "plain"} == {
        "torch", "jax", "knet",
    }  # fmt: skip
    tuned = {name: base for name, (role, base) in roles.items() if role == "tuned"}
    assert tuned == {
        "torch-compile": "torch", "torch-channels-last": "torch", "torch-bf16": "torch",
        "jax-s2d": "jax", "jax-scan": "jax", "jax-bf16": "jax",
    }  # fmt: skip
    assert roles["julia-reference"] == ("bound", "")
    assert all(bool(spec.deviation) == (spec.role != "plain") for spec in backends().values())


@pytest.mark.parametrize(
    "change",
    [{"role": "tuned", "deviation": "x"}, {"base": "torch"}, {"role": "idiom"}, {"deviation": "x"}],
)
def test_a_role_without_what_it_must_state_is_refused(change):
    with pytest.raises(ValueError, match="torch: "):
        replace(backends()["torch"], **change)


def test_a_former_name_stays_an_alias():
    assert find_backend("julia") is backends()["julia-reference"]
    assert Experiment(frameworks=("torch", "julia")).frameworks == ("torch", "julia-reference")
    with pytest.raises(ValueError, match="names something twice"):
        Experiment(frameworks=("julia", "julia-reference"))


def test_an_idiom_has_no_certificate():
    idiom = replace(backends()["knet"], name="x-idiom", role="idiom", deviation="its own batches")
    with pytest.raises(BenchError, match="'x-idiom' has no parity certificate: its own batches"):
        check_certified([idiom])

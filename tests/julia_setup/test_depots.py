"""Depots for a cold start: everything but compiled code of the harness's packages."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from harness.backends.julia import depots


@pytest.fixture
def depot(tmp_path, monkeypatch):
    """A depot in which two packages of the harness and one other are compiled."""
    path = tmp_path / "depot"
    for name in ("PipelineBench", "PipelineBenchKnet", "AutoGrad"):
        (path / "compiled" / "v1.9" / name).mkdir(parents=True)
        (path / "compiled" / "v1.9" / name / "x.ji").touch()
    (path / "packages" / "AutoGrad").mkdir(parents=True)
    julia = SimpleNamespace(bindir=tmp_path / "julia" / "bin")
    monkeypatch.setattr(depots, "find_julia", lambda package: julia)
    monkeypatch.setattr(depots, "environment", lambda found, threads: {})
    monkeypatch.delenv("JULIA_DEPOT_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


def paths(package, folder):
    return depots.caches(package, folder)["JULIA_DEPOT_PATH"].split(os.pathsep)


def test_all_is_there_but_the_harness_s_own_packages(depot, monkeypatch, tmp_path):
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(depot))
    folder = tmp_path / "caches"
    for _ in range(2):  # the warm start asks again
        first, mirror = paths("Knet", folder)
    assert first == str(folder / "julia")
    found = sorted(path.name for path in folder.glob("*/compiled/v1.9/*"))
    assert found == ["AutoGrad"]
    assert os.path.samefile(f"{mirror}/packages", depot / "packages")
    assert (depot / "compiled" / "v1.9" / "PipelineBench" / "x.ji").exists()


def test_without_a_path_it_is_the_usual_depots(depot, tmp_path):
    depot.rename(tmp_path / ".julia")
    _, user, *bundled = paths(None, tmp_path / "caches")
    assert user == str(tmp_path / "caches" / "depot-0")
    assert bundled == [
        str(tmp_path / "julia" / "local" / "share" / "julia"),
        str(tmp_path / "julia" / "share" / "julia"),
    ]


def test_a_depot_that_holds_nothing_of_the_harness_is_used_itself(depot, monkeypatch, tmp_path):
    monkeypatch.setenv("JULIA_DEPOT_PATH", str(tmp_path / "other"))
    assert paths(None, tmp_path / "caches")[1:] == [str(tmp_path / "other")]

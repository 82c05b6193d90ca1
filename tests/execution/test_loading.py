"""Whether an installed framework loads, found out in a child process."""

from __future__ import annotations

import os
import signal
import time

import pytest

from harness.backends.spec import BackendSpec, Family
from harness.execution.loading import requirement_to_load


class Loads:
    @classmethod
    def start(cls):
        print("loaded")


class Fails:
    @classmethod
    def start(cls):
        raise RuntimeError("Package Knet is required\nbut is not installed")


class Dies:
    @classmethod
    def start(cls):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs:
    @classmethod
    def start(cls):
        time.sleep(600)


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))

    def spec(name):
        return BackendSpec(
            name=name.lower(), title=name, factory=f"test_loading:{name}",
            family=Family(name="planted", training=(), data=(), versions=()),
            find_network=lambda card: None,
            summary="", install="bench setup planted",
        )  # fmt: skip

    return spec


def test_what_loads_is_ready(spec, tmp_path):
    assert requirement_to_load(spec("Loads")) is None
    assert "loaded" in next(tmp_path.rglob("load-loads.log")).read_text()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Fails", "RuntimeError: Package Knet is required"),
        ("Dies", "its process ended with code -11"),
        ("Absent", "AttributeError: module 'test_loading' has no attribute 'Absent'"),
    ],
)
def test_what_does_not_load_is_reported_with_its_cause(spec, name, why):
    need = requirement_to_load(spec(name))
    assert f"is installed but does not load: {why} (" in need.why
    assert "\n" not in need.why
    assert need.fix == "bench setup planted"


def test_what_hangs_has_a_time_limit(spec):
    assert "did not load within 3 s" in requirement_to_load(spec("Hangs"), timeout=3).why

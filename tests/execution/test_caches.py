"""Folders that workers compile into: none is left, and none is removed that is in use."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from harness.execution.caches import compile_cache, remove_abandoned

KILLED = """
import os, signal, time
from harness.execution.caches import compile_cache
with compile_cache() as folder:
    (folder / "kernel.so").write_text("compiled")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_cache_is_removed_in_the_end(temporary):
    with compile_cache() as folder:
        assert folder.parent == temporary
        (folder / "kernel.so").touch()
    assert names(temporary) == []


def test_caches_of_killed_processes_are_removed_and_no_others(temporary, clean_environment):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdout=subprocess.PIPE,
        env=clean_environment | {"TMPDIR": str(temporary)},
        text=True,
    )
    (temporary / "bench-cache-of-another-version").mkdir()
    (temporary / "anything").mkdir()
    with compile_cache() as mine, process:
        theirs = process.stdout.readline().rpartition("/")[2].strip()
        kept = sorted(["anything", "bench-cache-of-another-version", mine.name])
        remove_abandoned()
        assert names(temporary) == sorted([*kept, theirs]), "it lives"
        process.kill()
        process.wait()
        remove_abandoned()
        assert names(temporary) == kept

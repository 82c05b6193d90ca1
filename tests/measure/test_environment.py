from __future__ import annotations

import json
import os
import sys
from importlib import metadata

from harness.cpus import cpu_quota
from harness.measure.environment import collect, differences
from harness.variables import recorded


def test_the_machine_is_described_in_plain_json():
    got = collect({"knet": "1.4.10"}, {})
    assert json.loads(json.dumps(got)) == got
    assert got["versions"]["h5py"] == metadata.version("h5py")
    assert got["versions"]["knet"] == "1.4.10"
    assert got["python"] == ".".join(map(str, sys.version_info[:3]))
    assert got["cores_logical"] >= 1
    assert got["memory_bytes"] > 2**20
    assert got["cpu"]
    assert got["cpu_quota"] == cpu_quota()


def test_differences_that_bear_on_speed():
    one = {"cpu": "A", "load_average": [1], "versions": {"torch": "2.1", "jax": "0.4"}}
    other = {"cpu": "B", "load_average": [2], "versions": {"torch": "2.2", "jax": "0.4"}}
    assert differences(one, one) == []
    assert differences(one, other) == ["cpu: A -> B", "torch: 2.1 -> 2.2"]
    assert differences(one, one | {"variables": {"X": "1"}}) == ["X: none -> 1"]


def test_secrets_are_not_stored(monkeypatch):
    hidden = {
        "JAX_API_TOKEN": "s3cret-1",
        "NVIDIA_API_KEY": "s3cret-2",
        "TORCH_HUB_PASSWORD": "s3cret-3",
        "JULIA_PKG_SERVER": "https://user:s3cret-4@pkg.example.org/x",
        "CUDA_PATH": "/opt/cuda",
    }
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    got = json.dumps(collect({}, recorded(os.environ)))
    assert "s3cret" not in got
    assert "user:" not in got
    assert "https://pkg.example.org/x" in got
    assert "/opt/cuda" in got
    assert "JAX_API_TOKEN" in got


def test_caches_are_read_by_level(tmp_path):
    from harness.measure.cpu import caches

    for name, level, kind, size in (("0", "1", "Data", "48K"), ("3", "3", "Unified", "32M")):
        cache = tmp_path / f"index{name}"
        cache.mkdir()
        for file, text in (("level", level), ("type", kind), ("size", size)):
            (cache / file).write_text(f"{text}\n")
    assert caches(tmp_path) == {"L1d": "48K", "L3": "32M"}
    assert caches(tmp_path / "nowhere") == {}

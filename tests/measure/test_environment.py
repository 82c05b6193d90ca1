from __future__ import annotations

import json
import sys
from importlib import metadata

from harness.measure.environment import collect


def test_the_machine_is_described_in_plain_json():
    got = collect({"knet": "1.4.10"})
    assert json.loads(json.dumps(got)) == got
    assert got["versions"]["h5py"] == metadata.version("h5py")
    assert got["versions"]["knet"] == "1.4.10"
    assert got["python"] == ".".join(map(str, sys.version_info[:3]))
    assert got["cores_logical"] >= 1
    assert got["memory_bytes"] > 2**20

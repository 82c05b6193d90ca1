from __future__ import annotations

import json
import sys
from importlib import metadata

from harness.measure.environment import collect


def test_the_machine_is_described_in_plain_json():
    got = collect(["pytest", "no-such-package-anywhere"])
    assert json.loads(json.dumps(got)) == got
    assert got["versions"]["pytest"] == metadata.version("pytest")
    assert "no-such-package-anywhere" not in got["versions"]
    assert got["python"] == ".".join(map(str, sys.version_info[:3]))
    assert got["cores_logical"] >= 1
    assert got["memory_bytes"] > 2**20

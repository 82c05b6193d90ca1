from __future__ import annotations

import json

import pytest

from harness.measure.interleave import in_child, interleave


def test_calls_are_interleaved_and_rotate():
    calls: list[str] = []
    work = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = interleave(work, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abc", 3)


def test_a_child_gets_its_arguments_and_its_threads(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import json, os, sys\n"
        "print('noise')\n"
        "print(json.dumps([json.loads(sys.argv[1]), os.environ['OMP_NUM_THREADS']]))\n"
    )
    assert in_child(script, {"n": 3}, threads=1) == [{"n": 3}, "1"]
    script.write_text("raise SystemExit('it broke')")
    with pytest.raises(RuntimeError, match=r"child\.py failed:\nit broke"):
        in_child(script, json.loads("{}"), threads=1)

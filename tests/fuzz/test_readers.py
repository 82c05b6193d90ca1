"""Damaged files of every format: a reader returns or raises BenchError, soon and in little memory.

Few examples here; ``make fuzz`` tries many more.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

spec = importlib.util.spec_from_file_location("readers", Path(__file__).with_name("readers.py"))
readers = importlib.util.module_from_spec(spec)
sys.modules["readers"] = readers
spec.loader.exec_module(readers)

MORE_MIB = 1024
"""Memory that all examples of a reader may take together beyond what was taken before."""
SLOW = {"data-set": 15, "weights": 15, "nih": 20}

changes = st.lists(
    st.tuples(st.integers(0, 6), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**16)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", readers.READERS)
def test_damaged_files(name, tmp_path):
    reader = readers.READERS[name]
    path, content = reader.prepare(tmp_path / name)
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=SLOW.get(name, 40),
        deadline=reader.seconds * 1000,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes)
    def damage(done):
        reader.run(path, readers.mutated(content, done))

    damage()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MORE_MIB * 1024


@pytest.mark.parametrize("name", [n for n in readers.READERS if n not in ("safetensors",)])
def test_the_undamaged_file_is_read(name, tmp_path):
    """Else the examples above would all end at the first check."""
    reader = readers.READERS[name]
    path, content = reader.prepare(tmp_path / name)
    path.write_bytes(content)
    if name == "baselines":
        path.write_bytes((Path(__file__).parents[1] / "regression" / "baselines.json").read_bytes())
    reader.read(path)


@pytest.mark.parametrize("name", ["idx", "card", "manifest"])
def test_a_reader_that_fails_in_another_way_is_seen(name, tmp_path):
    reader = readers.READERS[name]
    path, content = reader.prepare(tmp_path / name)

    def broken(path):
        raise KeyError(path)

    with pytest.raises(KeyError):
        readers.Reader(reader.name, reader.seed, broken).run(path, content)

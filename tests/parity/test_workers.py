"""The processes of a proof: started before they are needed, and ended whatever happens."""

from __future__ import annotations

import time

import psutil
import pytest

from harness.backends.spec import BackendSpec
from harness.errors import BenchError, WorkerError
from harness.parity.trace import Workers

Planted = dict[str, BackendSpec]


def children() -> set[psutil.Process]:
    """Of this process, in which other tests may have left one that serves them all."""
    return set(psutil.Process().children())


def test_those_that_were_started_are_the_ones_that_serve(planted: Planted) -> None:
    sound, other = planted["sound"], planted["countssteps"]
    before = children()
    with Workers(1) as workers:
        workers.start([sound, other])
        started = children() - before
        assert len(started) == 2
        assert workers.get(sound) is workers.get(sound)
        assert workers.get(sound) is not workers.get(other)
        assert children() - before == started, "no further process"
    assert not any(process.is_running() for process in started)


def test_what_fails_at_its_start_is_told_when_it_is_asked_for(planted: Planted) -> None:
    sound, broken = planted["sound"], planted["cannotstart"]
    with Workers(1) as workers:
        workers.start([broken, sound])
        assert workers.get(sound).alive
        for _ in range(2):  # started anew, it fails again
            with pytest.raises((WorkerError, BenchError), match="no licence"):
                workers.get(broken)


def test_nobody_waits_for_a_process_that_is_not_needed_any_more(planted: Planted) -> None:
    before = children()
    with Workers(1) as workers:
        workers.start([planted["hangsatstart"]])
        workers.start([planted["hangsatstart"]])  # once is enough
        time.sleep(1)
        processes = children() - before
        assert len(processes) == 1
    assert not any(process.is_running() for process in processes)

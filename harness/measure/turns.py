"""Comparing pieces of code inside one process, in turns, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.measure.variables import for_worker
from harness.processes import thread_settings

T = TypeVar("T")


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """``items`` from another one on in every turn, so that none is always first or always last."""
    first = turn % max(1, len(items))
    return [*items[first:], *items[:first]]


def take_turns(rows: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Call every row once to warm up, then ``rounds`` times in turn (A B C A B C).

    A row must return only when its work is done. Returns seconds, one value a round, by row.
    """
    for work in rows.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds):
        for name in rotated(list(rows), turn):
            start = time.perf_counter()
            rows[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def in_child(script: Path, arguments: Mapping[str, Any], *, threads: int) -> Any:
    """Run ``python script JSON`` with ``threads`` threads and return the JSON it prints last.

    Raises:
        RuntimeError: the script failed; the message ends with what it printed.
    """
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(dict(arguments))],
        env={**for_worker(os.environ), **thread_settings(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

"""Comparing pieces of code interleaved, inside one process, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.processes import thread_settings

T = TypeVar("T")


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """``items`` from another one on in every turn, so that none is always first or always last."""
    first = turn % max(1, len(items))
    return [*items[first:], *items[:first]]


def interleave(work: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Call every item of ``work`` once to warm up, then ``rounds`` times (A B C, B C A, ...).

    A call must return only when its work is done. Returns seconds, one value a round, by name.
    """
    for call in work.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds):
        for name in rotated(list(work), turn):
            start = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def in_child(
    script: Path,
    arguments: Mapping[str, Any],
    *,
    threads: int,
    environment: Mapping[str, str] = os.environ,
) -> Any:
    """Run ``python script JSON`` with ``threads`` threads and return the JSON it prints last.

    Raises:
        RuntimeError: the script failed; the message ends with what it printed.
    """
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(dict(arguments))],
        env={**environment, **thread_settings(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

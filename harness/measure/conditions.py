"""The machine around a timed pass: what else ran, how fast the clock was, heat, swap, energy."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from harness.cpus import cpu_seconds

SYSTEM = Path("/")
DISTURBED_SHARE = 0.25
"""A timed pass is disturbed when other work kept more than this share of its processors busy."""
COUNTED_S = 0.05
"""Less than this many seconds of other work are below what the kernel's counters resolve."""


class Conditions(BaseModel):
    """The machine around one timed pass; None where the system does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gemm_gflops: float
    """Speed of a matrix product on the same processors, in the run's precision, just before."""
    other_load: float | None = None
    """Processors kept busy meanwhile by anything but the worker, mean; steal time counts."""
    clock_mhz: float | None = None
    """Mean of the processors' clocks."""
    throttled: int | None = None
    """How often the hardware slowed itself down because of heat."""
    swapped_bytes: int | None = None
    energy_j: float | None = None
    """Of the processor packages, by the kernel's RAPL counters."""


def is_disturbed(seconds: float, conditions: Conditions | None, threads: int) -> bool:
    """Whether other work kept more than ``DISTURBED_SHARE`` of ``threads`` processors busy.

    The measured load alone decides, never the speed. False where the system does not tell.
    """
    if conditions is None or conditions.other_load is None:
        return False
    other_s = conditions.other_load * seconds
    return other_s > COUNTED_S and other_s > DISTURBED_SHARE * threads * seconds


@dataclass(frozen=True)
class _Reading:
    """Counters that only grow."""

    at: float
    busy: float
    """Seconds that the processors worked, or wanted to and were given to another machine."""
    own: float
    """Seconds of these that were the worker's or this process's."""
    throttled: int | None
    swapped_bytes: int | None
    energy_uj: dict[str, int]
    """By package."""


def mean_other_load(rounds: Iterable[tuple[float, Conditions | None]]) -> float | None:
    """Mean over time of the processors that other work kept busy; None where nothing tells.

    ``rounds`` are seconds and conditions: by time, because the kernel's counters are too coarse
    for a single short round.
    """
    known = [
        (seconds, found.other_load)
        for seconds, found in rounds
        if found is not None and found.other_load is not None
    ]
    spent = sum(seconds for seconds, _ in known)
    return sum(seconds * load for seconds, load in known) / spent if spent > 0 else None


class Watch:
    """Filled in when the time it watches is over."""

    conditions: Conditions | None = None


@contextmanager
def watching(pid: int, cpus: tuple[int, ...], gemm_gflops: float) -> Iterator[Watch]:
    """Take readings before and after; ``pid`` is the worker, ``cpus`` the processors it may use."""
    watch = Watch()
    before = _read(pid, cpus)
    yield watch
    after = _read(pid, cpus)
    seconds = after.at - before.at
    other = (after.busy - before.busy) - (after.own - before.own)
    watch.conditions = Conditions(
        gemm_gflops=gemm_gflops,
        # The kernel counts in hundredths of a second, so little can come out as less than nothing.
        other_load=max(0.0, other / seconds) if seconds > 0 else None,
        clock_mhz=clock_mhz(cpus),
        throttled=_grown(before.throttled, after.throttled),
        swapped_bytes=_grown(before.swapped_bytes, after.swapped_bytes),
        energy_j=_energy(before.energy_uj, after.energy_uj),
    )


def _read(pid: int, cpus: tuple[int, ...]) -> _Reading:
    return _Reading(
        at=time.perf_counter(),
        busy=_busy(cpus),
        own=_own(pid) + _own(None),
        throttled=throttle_count(),
        swapped_bytes=swapped_bytes(),
        energy_uj={str(zone): count for zone, count in _energy_counters()},
    )


def _busy(cpus: tuple[int, ...]) -> float:
    every = cpu_seconds()
    return sum(every.get(cpu, 0.0) for cpu in cpus)


def _own(pid: int | None) -> float:
    """Of this process, or of a worker and its descendants: a compiler that it started, say.

    A descendant that has ended counts from then on in its parent's ``children_*``.
    """
    if pid is None:
        times = psutil.Process().cpu_times()
        return float(times.user + times.system)
    spent = 0.0
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        for process in (worker, *worker.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                spent += times.user + times.system + times.children_user + times.children_system
    return spent


def clock_mhz(cpus: tuple[int, ...]) -> float | None:
    """Mean of the present clocks, where the system tells them."""
    try:
        clocks = psutil.cpu_freq(percpu=True) or []
    except (AttributeError, NotImplementedError, OSError):  # no such call or file on this system
        return None
    chosen = [clocks[cpu].current for cpu in cpus if cpu < len(clocks) and clocks[cpu].current > 0]
    return sum(chosen) / len(chosen) if chosen else None


def throttle_count() -> int | None:
    """How often a core or package slowed down because of heat since the machine was started."""
    files = (SYSTEM / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [int(text) for file in files if (text := _content(file)).isdigit()]
    return sum(counts) if counts else None


def swapped_bytes() -> int | None:
    """Bytes moved from and to swap since the machine was started."""
    try:
        with warnings.catch_warnings():  # psutil's word for a system that counts nothing
            warnings.simplefilter("error", RuntimeWarning)
            memory = psutil.swap_memory()
    except (RuntimeWarning, OSError):
        return None
    return memory.sin + memory.sout


def _energy_counters() -> Iterator[tuple[Path, int]]:
    """Of the packages: their parts (cores, memory) lie below them and are counted already."""
    for zone in sorted((SYSTEM / "sys/class/powercap").glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") == 1 and (text := _content(zone / "energy_uj")).isdigit():
            yield zone, int(text)


def _energy(before: dict[str, int], after: dict[str, int]) -> float | None:
    """Joules; a counter that ran over is set right by its range."""
    if not before or before.keys() != after.keys():
        return None
    used = 0
    for zone, first in before.items():
        grown = after[zone] - first
        if grown < 0:
            limit = _content(Path(zone) / "max_energy_range_uj")
            if not limit.isdigit():
                return None
            grown += int(limit)
        used += grown
    return used / 1e6


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

"""How many processors this process may use: by its affinity, and by the quota of its container;
and which of them other programs leave alone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

LOOK_S = 0.1
"""For how long processors are watched: ten of the kernel's ticks."""
QUIET = 0.25
"""Share of that time that others may have used of a processor that is called quiet."""


def available_cpus(root: Path = Path("/")) -> tuple[int, ...]:
    """The processors this process may run on, in ascending order.

    Where a control group (cgroup v1 or v2) limits the processor time, no more of them than that
    time is worth, and at least one: threads beyond a quota are stopped in turn while the others
    wait for them. ``root``: where /proc and the mounted control groups are looked for.
    """
    cpus = permitted_cpus()
    quota = cpu_quota(root)
    return cpus if quota is None else cpus[: max(1, int(quota))]


def quiet_cpus(threads: int) -> tuple[int, ...]:
    """As many as :func:`available_cpus`; those that others use at this moment come last.

    A framework stays on the first ``threads`` of them. Two comparisons that took the same ones,
    as those of two containers with a quota would, halve each other's speed while other processors
    idle. On a quiet machine the order is ascending.
    """
    count, cpus = len(available_cpus()), permitted_cpus()
    if threads >= len(cpus):
        return cpus  # all are used
    before = cpu_seconds()
    time.sleep(LOOK_S)
    after = cpu_seconds()
    busy = {cpu for cpu in cpus if after.get(cpu, 0.0) - before.get(cpu, 0.0) > QUIET * LOOK_S}
    return tuple(sorted(cpus, key=lambda cpu: cpu in busy)[:count])


def cpu_seconds() -> dict[int, float]:
    """By processor, for how long it has worked: steal time included, idle time and waiting for
    disks not."""
    idle = ("idle", "iowait", "guest", "guest_nice")  # guest time is part of user time
    return {
        cpu: sum(float(value) for name, value in times._asdict().items() if name not in idle)
        for cpu, times in enumerate(psutil.cpu_times(percpu=True))
    }


def move_threads(cpus: tuple[int, ...]) -> None:
    """Let every thread of this process run on ``cpus``, where the system can tell them apart."""
    with contextlib.suppress(FileNotFoundError):
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.sched_setaffinity(int(task.name), cpus)


def permitted_cpus() -> tuple[int, ...]:
    """Those that the affinity of this process names, in ascending order."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many processors' time the control groups of this process allow; None: no limit."""
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for folder in _folders(root):
        try:
            if (folder / "cpu.max").is_file():  # v2
                quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            else:
                quota, period = (
                    (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                    for name in ("quota", "period")
                )
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # the root group has no such files


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of all above them, as far as they are mounted."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    # "ID:CONTROLLERS:PATH", without controllers for v2 (man cgroups).
    paths = {}
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            paths["cgroup" if controllers else "cgroup2"] = PurePosixPath(path)
    for line in mounts:
        # "ID PARENT DEVICE ROOT POINT OPTIONS... - TYPE SOURCE SUPER_OPTIONS" (man proc).
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        of_cpu = kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(","))
        if not of_cpu or kind not in paths:
            continue
        within, point = (PurePosixPath(field) for field in before.split(" ")[3:5])
        group = paths[kind]
        # In a container the mount may begin at a group that the path still counts from outside.
        inner = group.relative_to(within) if group.is_relative_to(within) else PurePosixPath()
        folder = root / point.relative_to("/")
        yield folder
        for part in inner.parts:
            if part != "/":
                folder = folder / part
                yield folder

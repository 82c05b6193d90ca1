"""How many processors this process may use: by its affinity, and by the quota of its container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cpus(root: Path = Path("/")) -> tuple[int, ...]:
    """The processors this process may run on, in ascending order.

    Where a control group (cgroup v1 or v2) limits the processor time, no more of them than that
    time is worth, and at least one: threads beyond a quota are stopped in turn while the others
    wait for them. ``root``: where /proc and the mounted control groups are looked for.
    """
    if hasattr(os, "sched_getaffinity"):
        cpus = tuple(sorted(os.sched_getaffinity(0)))
    else:
        cpus = tuple(range(os.cpu_count() or 1))
    quota = cpu_quota(root)
    return cpus if quota is None else cpus[: max(1, int(quota))]


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

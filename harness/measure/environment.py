"""What machine and software a run had: enough to assess its numbers and to reproduce it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from harness.cpus import cpu_quota
from harness.measure.cpu import caches

# Instruction sets that decide how fast a convolution can be; the full list is noise.
_RELEVANT_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni",
    "amx_tile", "amx_bf16", "asimd", "sve", "sve2", "bf16",
)  # fmt: skip
_DECISIVE = (
    "cpu", "cpu_flags", "cores_physical", "cores_logical", "cpu_quota", "governor", "memory_bytes",
    "system", "kernel", "machine", "python", "numpy_blas", "git_commit",
)  # fmt: skip
_LIBRARIES = ("numpy", "scipy", "h5py", "pytest-benchmark")


def collect(
    versions: Mapping[str, str], variables: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Describe the machine, the system and the installed versions, as plain JSON data.

    ``versions`` are those of the frameworks; those of the harness's own libraries are added.
    ``variables`` of the environment are taken as they are.

    Reads files and package metadata only: no framework is imported.
    """
    cpu = _cpu()
    flags = set(cpu.get("flags", ()))
    return {
        "cpu": cpu.get("brand_raw") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _RELEVANT_FLAGS if flag in flags],
        "cpu_caches": caches(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(logical=True),
        "cpu_quota": cpu_quota(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": psutil.virtual_memory().total,
        "swap_used_bytes": psutil.swap_memory().used,
        "load_average": list(os.getloadavg()),
        "system": _system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": _versions(_LIBRARIES) | dict(versions),
        **variables,
        "numpy_blas": _numpy_blas(),
        "git_commit": _git_commit(),
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What of two environments differs and bears on speed, each as 'name: before -> now'."""
    named = [(name, one.get(name), other.get(name)) for name in _DECISIVE]
    for group in ("versions", "variables"):
        before, after = (each.get(group) or {} for each in (one, other))
        named += [(name, before.get(name), after.get(name)) for name in {**before, **after}]
    return [
        f"{name}: {_shown(before)} -> {_shown(after)}"
        for name, before, after in named
        if before != after
    ]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "none" if value is None else str(value)


@cache
def _cpu() -> dict[str, Any]:
    """What py-cpuinfo finds of the processor; nothing where it fails."""
    import cpuinfo

    try:
        found: dict[str, Any] = cpuinfo.get_cpu_info()
    except Exception:  # it starts processes and parses what they print
        return {}
    return found


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _numpy_blas() -> str:
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, '-dirty' when it was changed since."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10,
        ).stdout.strip()  # fmt: skip

    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit

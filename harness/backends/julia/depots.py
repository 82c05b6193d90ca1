"""Depots of Julia's that hold no compiled code of the harness's packages: a cold start."""

from __future__ import annotations

import os
from pathlib import Path

from harness.backends.julia.installation import Installation, environment, find_julia

_OWN = "PipelineBench*"
"""The harness's packages, as patterns of folders below ``compiled/v1.x`` in a depot."""


def caches(package: str | None, folder: Path) -> dict[str, str]:
    """The environment in which Julia precompiles the harness's packages into ``folder``.

    Everything else is found where it is: the packages that these depend on were precompiled when
    they were installed, as those of the other frameworks were.
    """
    installation = find_julia(package)
    named = environment(installation, 1) | os.environ
    depots = [folder / "julia"]
    for number, depot in enumerate(_depots(named.get("JULIA_DEPOT_PATH", ""), installation)):
        has_own = any(depot.glob(f"compiled/*/{_OWN}"))
        depots.append(_mirrored(depot, folder / f"depot-{number}") if has_own else depot)
    return {"JULIA_DEPOT_PATH": os.pathsep.join(map(str, depots))}


def _depots(path: str, installation: Installation) -> list[Path]:
    """The depots that Julia would use with ``path`` in JULIA_DEPOT_PATH; '' is its usual ones."""
    usual = [
        Path.home() / ".julia",
        installation.bindir.parent / "local" / "share" / "julia",
        installation.bindir.parent / "share" / "julia",
    ]
    found = [
        depot
        for entry in path.split(os.pathsep)
        for depot in ([Path(entry).expanduser()] if entry else usual)
    ]
    return list(dict.fromkeys(found))


def _mirrored(depot: Path, mirror: Path) -> Path:
    """Links to all that ``depot`` holds, but for compiled code of the harness's packages."""
    for entry in depot.iterdir():
        if entry.name != "compiled":
            _link(entry, mirror / entry.name)
    for entry in depot.glob("compiled/*/*"):
        if not entry.match(_OWN):
            _link(entry, mirror / entry.relative_to(depot))
    return mirror


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target)

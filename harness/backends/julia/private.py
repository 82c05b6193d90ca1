"""The harness's own Julia: Debian's packages unpacked in the user's cache, and how to start it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from harness.backends.julia.packages import julia_dir
from harness.paths import cache_dir


def root() -> Path:
    """The folder of the unpacked packages; perhaps not there."""
    return cache_dir() / "julia" / "bullseye"


def executable() -> Path | None:
    """Its ``julia``, where it was installed."""
    path = root() / "usr" / "bin" / "julia"
    return path if path.exists() else None


def environment(julia: Path) -> dict[str, str]:
    """What a process must have in its environment to run or to embed ``julia``.

    Empty for every Julia that is not the private one. The libraries are for the process alone that
    gets this environment: they are older than the system's.
    """
    if not julia.is_relative_to(root()):
        return {}
    settings = {}
    folders = [*map(str, _libraries()), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    # Once: a worker, whose environment this is, starts further processes with it.
    settings["LD_LIBRARY_PATH"] = os.pathsep.join(
        dict.fromkeys(os.pathsep.join(folders).split(os.pathsep))
    )
    if "JULIA_DEPOT_PATH" not in os.environ:
        settings["JULIA_DEPOT_PATH"] = str(depot())
    return settings


def depot() -> Path:
    """Where the private Julia keeps compiled code, in place of the user's ``~/.julia``.

    One for each copy of the harness: Julia 1.5 keeps one compiled file for a package's name, and
    two copies would compile theirs anew at every change from one to the other.
    """
    copy = hashlib.sha256(os.fsencode(julia_dir())).hexdigest()[:12]
    return cache_dir() / "julia" / "depots" / copy


def _libraries() -> Iterator[Path]:
    """The folders with shared libraries, of the only architecture that was unpacked."""
    for top in ("usr/lib", "lib"):
        yield from sorted((root() / top).glob("*-linux-gnu*"))

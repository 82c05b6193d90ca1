"""The Julia packages that come with the harness; ``julia/README.md`` says what is in which."""

from __future__ import annotations

import os
from pathlib import Path

from harness.paths import resource_dir

SHARED = "PipelineBench"
REFERENCE = "PipelineBenchReference"
KNET = "PipelineBenchKnet"
_FOLDERS = {SHARED: ".", REFERENCE: "reference", KNET: "knet"}


def julia_dir() -> Path:
    """The folder of the Julia package ``PipelineBench``, which holds the others."""
    return resource_dir("julia")


def folder(package: str) -> Path:
    """The folder with the package's ``Project.toml``."""
    return julia_dir() / _FOLDERS[package]


def load_path(*folders: Path) -> str:
    """``JULIA_LOAD_PATH`` with ``folders`` at its end; an empty first entry is Julia's default.

    At its end: since Julia 1.9 a package is looked up no further than the environment in which
    its name was found, and what these packages depend on is installed in the user's project.
    """
    return os.pathsep.join([os.environ.get("JULIA_LOAD_PATH", ""), *map(str, folders)])

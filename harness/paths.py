"""Where the files that travel with the package lie: in a checkout at its top level, else inside."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """The folder ``name`` that travels with the package."""
    installed = _PACKAGE / f"_{name}"
    return installed if installed.is_dir() else _PACKAGE.parent / name


def shipped(path: Path) -> Path:
    """``path``; where there is none, and it begins with a folder that travels, the one there.

    So a command of the documentation works from any folder: ``--config benchmarks/xrays.toml``.
    """
    first, *rest = path.parts or ("",)
    if path.exists() or first not in ("benchmarks", "docs") or not rest:
        return path
    return resource_dir(first).joinpath(*rest)


def page(name: str) -> Path:
    """The page ``name`` of the documentation, for a message that refers to it."""
    return resource_dir("docs") / name


def benchmarks_dir() -> Path:
    """The folder of the pytest-benchmark suite that ``bench run`` drives."""
    return resource_dir("benchmarks")


def cards_dir() -> Path:
    """The folder of the dataset cards (``*.toml``)."""
    return resource_dir("datasets")


def harness_path() -> str:
    """``PYTHONPATH`` for a child process that is to import this harness, wherever it lies."""
    return os.pathsep.join(filter(None, [str(_PACKAGE.parent), os.environ.get("PYTHONPATH")]))


def cache_dir() -> Path:
    """The harness's folder in the user's cache (``XDG_CACHE_HOME`` on Linux); perhaps not there."""
    from platformdirs import user_cache_path

    return user_cache_path("pipeline-bench", appauthor=False)


def data_dir(override: str | Path | None = None) -> Path:
    """The folder that holds exported HDF5 files.

    ``--data-dir`` wins, then ``BENCH_DATA_DIR``, then ``datasets/`` of the checkout, or of the
    current folder when the package is installed without one.
    """
    chosen = override or os.environ.get("BENCH_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser()
    checkout = _PACKAGE.parent / "datasets"
    return checkout if checkout.is_dir() else Path("datasets")


def new_run_folder() -> Path:
    """``runs/`` and the moment, in the current folder; not there yet."""
    return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")

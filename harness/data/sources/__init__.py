"""One module a source, found by its presence in this folder (modules with ``_`` are helpers).

A source has ``NAME``, ``DESCRIPTION`` (one line), ``USES`` (the options that it reads),
``recognises(path) -> bool`` and ``load(path, options) -> RawDataset``. To add one, add a module.
One that knows a special case of another says which: ``INSTEAD_OF = "table"``.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from harness.errors import BenchError

if TYPE_CHECKING:
    from harness.data.sources._base import ImportOptions, RawDataset

EMBEDDED = frozenset({"digits", "phantom"})  # these need no file, so there is nothing to import


class Source(Protocol):
    """What a module of this folder offers."""

    NAME: str
    DESCRIPTION: str
    USES: frozenset[str]

    def recognises(self, path: Path) -> bool:
        """Whether ``path`` looks like this source, by names alone; never raises."""
        ...

    def load(self, path: Path, options: ImportOptions) -> RawDataset:
        """Read everything under ``path``; BenchError where it cannot be read."""
        ...


def names() -> list[str]:
    """The names of all sources, without importing any."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    )


def importable() -> list[str]:
    """The names of the sources that read what a person has."""
    return [name for name in names() if name not in EMBEDDED]


def get(name: str) -> Source:
    """The source called ``name``."""
    if name not in names():
        raise BenchError(f"format {name!r}: no such source; there are {', '.join(names())}")
    return cast(Source, importlib.import_module(f"{__name__}.{name}"))


def recognise(path: Path) -> Source:
    """The source that ``path`` looks like; BenchError that lists what was looked for."""
    if not path.exists():
        raise BenchError(f"{path}: no such file or folder")
    sources = [get(name) for name in importable()]
    try:
        matches = [source for source in sources if source.recognises(path)]
        replaced = {getattr(source, "INSTEAD_OF", None) for source in matches}
        matches = [source for source in matches if source.NAME not in replaced]
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(matches) == 1:
        return matches[0]
    if matches:
        could_be = " or ".join(source.NAME for source in matches)
        raise BenchError(f"{path}: could be {could_be}; pass --format")
    if hint := _below(path, sources):
        raise BenchError(f"{path}: not recognised as a data set; {hint}")
    looked_for = "; ".join(f"{s.NAME}: {s.DESCRIPTION}" for s in sources)
    raise BenchError(f"{path}: not recognised as a data set. Looked for {looked_for}")


def _below(path: Path, sources: list[Source]) -> str:
    """Where a data set lies in the only folder inside ``path``, in words; "" for nowhere."""
    if not path.is_dir():
        return ""
    folders = [f for f in path.iterdir() if f.is_dir() and not f.name.startswith((".", "__"))]
    found = [
        source.NAME for source in sources if len(folders) == 1 and source.recognises(folders[0])
    ]
    return f"give {folders[0]}, which looks like one ({' or '.join(found)})" if found else ""

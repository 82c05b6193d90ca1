"""Importers: from what people have to a :class:`RawDataset`, found by entry point.

An importer is a module, or an object, with ``NAME``, ``DESCRIPTION`` (one line), ``USES`` (the
options that it reads), ``recognises(path) -> bool`` and ``load(path, options) -> RawDataset``. One
that knows a special case of another says which: ``INSTEAD_OF = "table"``. One that needs no file
says ``EMBEDDED = True``. Options of its own are in ``OPTIONS``, by name
(:class:`harness.data.importers.base.Option`). Entry-point group: ``harness.importers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from harness import plugins
from harness.errors import BenchError, unknown

if TYPE_CHECKING:
    from harness.data.importers.base import RawDataset
    from harness.data.importers.options import ImportOptions, Option


class Importer(Protocol):
    """What an importer offers."""

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
    """The names of all importers."""
    return list(plugins.importers())


def importable() -> list[str]:
    """The names of the importers that read what a person has."""
    return [name for name in names() if not is_embedded(name)]


def is_embedded(name: str) -> bool:
    """Whether an importer needs no file, so that there is nothing to import."""
    return bool(getattr(get(name), "EMBEDDED", False))


def get(name: str) -> Importer:
    """The importer called ``name``.

    Raises:
        BenchError: no such importer; the message lists those there are.
    """
    try:
        return cast(Importer, plugins.importers()[name])
    except KeyError:
        raise unknown("format", name, names()) from None


def own_options(importer: Importer) -> Mapping[str, Option]:
    """The options that an importer declares for itself, by name."""
    found: Mapping[str, Option] = getattr(importer, "OPTIONS", {})
    return found


def recognise(path: Path) -> Importer:
    """The importer that ``path`` looks like; BenchError that lists what was looked for."""
    if not path.exists():
        raise BenchError(f"{path}: no such file or folder")
    found = [get(name) for name in importable()]
    try:
        matches = [source for source in found if source.recognises(path)]
        replaced = {getattr(source, "INSTEAD_OF", None) for source in matches}
        matches = [source for source in matches if source.NAME not in replaced]
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(matches) == 1:
        return matches[0]
    if matches:
        could_be = " or ".join(source.NAME for source in matches)
        raise BenchError(f"{path}: could be {could_be}; pass --format")
    if hint := _below(path, found):
        raise BenchError(f"{path}: not recognised as a data set; {hint}")
    looked_for = "; ".join(f"{s.NAME}: {s.DESCRIPTION}" for s in found)
    raise BenchError(f"{path}: not recognised as a data set. Looked for {looked_for}")


def _below(path: Path, importers: list[Importer]) -> str:
    """Where a data set lies in the only folder inside ``path``, in words; "" for nowhere."""
    if not path.is_dir():
        return ""
    folders = [f for f in path.iterdir() if f.is_dir() and not f.name.startswith((".", "__"))]
    found = [
        source.NAME for source in importers if len(folders) == 1 and source.recognises(folders[0])
    ]
    return f"give {folders[0]}, which looks like one ({' or '.join(found)})" if found else ""

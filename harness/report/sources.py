"""The code that each framework needs for the same work: read as text, never imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import harness
from harness.backends.registry import BackendSpec
from harness.paths import julia_dir
from harness.report.families import EXTRAS, FAMILIES
from harness.report.lines import LANGUAGES, Language
from harness.report.text import join

ROOTS: Mapping[str, Path] = {"harness": Path(harness.__file__).parent, "julia": julia_dir()}
"""Where the repository's folders lie, in a checkout and in an installed package alike."""


@dataclass(frozen=True)
class Source:
    path: str
    """In the repository."""
    text: str

    @property
    def language(self) -> Language:
        return LANGUAGES[PurePosixPath(self.path).suffix]

    @property
    def lines(self) -> int | None:
        """Lines of code, or None where the file cannot be read as its language."""
        return self.language.count(self.text)


@dataclass(frozen=True)
class Part:
    """One piece of work, as families do it."""

    title: str
    sources: dict[str, tuple[Source, ...]]
    """By family; a family without such files has none."""
    shown: bool = True
    """False: too much to read in a report."""

    def lines(self, family: str) -> int | None:
        return _sum(self.sources.get(family, ()))


def parts(
    families: Iterable[str], modules: Mapping[str, str], roots: Mapping[str, Path] = ROOTS
) -> list[Part]:
    """Model by model (``modules``: file of a model card -> title), then training and data."""
    found: dict[str, dict[str, tuple[Source, ...]]] = {}
    for family in families:
        for title, patterns in FAMILIES[family].parts(modules).items():
            if files := _read(patterns, roots):
                found.setdefault(title, {})[family] = files
    return [Part(title, sources) for title, sources in found.items()]


def whole(parts: Iterable[Part], family: str) -> int | None:
    """Lines of all ``parts``, each file counted once; None where the family lacks one."""
    own = [part.sources.get(family, ()) for part in parts]
    return _sum(tuple(dict.fromkeys(s for files in own for s in files))) if all(own) else None


def extras(
    rows: Mapping[str, BackendSpec],
    modules: Collection[str],
    roots: Mapping[str, Path] = ROOTS,
) -> list[Part]:
    """What some of ``rows`` have besides the files of their family for networks of ``modules``."""
    found = []
    for extra in EXTRAS:
        if extra.module is not None and extra.module not in modules:
            continue
        present = [rows[row] for row in extra.rows if row in rows]
        files = _read(extra.files, roots) if present else ()
        if files:
            only = "only " if len(extra.rows) == 1 else ""
            where = f"{only}in {join([spec.title for spec in present])}"
            own = {present[0].family: files}
            found.append(Part(f"{where}: {extra.title}", own, extra.shown))
    return found


def _sum(sources: tuple[Source, ...]) -> int | None:
    counts = [source.lines for source in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _read(patterns: Iterable[str], roots: Mapping[str, Path]) -> tuple[Source, ...]:
    """The files of all ``patterns``; none at all where one of these finds nothing."""
    found = []
    for pattern in patterns:
        top, _, below = pattern.partition("/")
        paths = sorted(path for path in roots[top].glob(below) if path.is_file())
        if not paths:
            return ()
        found += [
            Source(f"{top}/{path.relative_to(roots[top]).as_posix()}", path.read_text("utf-8"))
            for path in paths
        ]
    return tuple(found)

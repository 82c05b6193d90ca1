"""The code that each framework needs for the same work: read as text, never imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from harness.backends.languages import LANGUAGES, Language
from harness.backends.spec import BackendSpec, ExtraCode, Family
from harness.models.card import ModelCard
from harness.plugins import backends


@dataclass(frozen=True)
class Source:
    path: str
    """In the repository."""
    text: str

    @property
    def language(self) -> Language:
        return LANGUAGES[PurePosixPath(self.path).suffix]

    @cached_property
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


TRAINING, DATA = "training", "data loading"


def parts(specs: Iterable[BackendSpec], cards: Iterable[ModelCard]) -> list[Part]:
    """Model by model, then training and data loading; ``specs``: one of each family."""
    found: dict[str, dict[str, tuple[Source, ...]]] = {}
    for spec in specs:
        family = spec.family
        for title, own in _models(spec, cards).items():
            if files := (*own, *_read(family.network, family)):
                found.setdefault(title, {})[family.name] = files
        for title, patterns in ((TRAINING, family.training), (DATA, family.data)):
            if files := _read(patterns, family):
                found.setdefault(title, {})[family.name] = files
    return [Part(title, sources) for title, sources in found.items()]


def _models(spec: BackendSpec, cards: Iterable[ModelCard]) -> dict[str, tuple[Source, ...]]:
    """The file of each network by a title that names the cards that share it."""
    titles: dict[str, list[str]] = {}
    for card in cards:
        if (network := spec.find_network(card)) is not None:
            titles.setdefault(network, []).append(card.title)
    return {
        f"model: {', '.join(names)}": (_network(network, spec.family),)
        for network, names in titles.items()
    }


def whole(parts: Iterable[Part], family: str) -> int | None:
    """Lines of all ``parts``, each file counted once; None where the family lacks one."""
    own = [part.sources.get(family, ()) for part in parts]
    return _sum(tuple(dict.fromkeys(s for files in own for s in files))) if all(own) else None


def extras(specs: Mapping[str, BackendSpec], cards: Iterable[ModelCard]) -> list[Part]:
    """What some of the variants ``specs`` have besides the files of their family."""
    shared: dict[tuple[ExtraCode, str], list[BackendSpec]] = {}
    for spec in specs.values():
        for extra in (*_own_networks(spec, cards), *spec.extra_code):
            shared.setdefault((extra, spec.family.name), []).append(spec)
    found = []
    for (extra, name), owners in shared.items():
        if files := _read(extra.files, owners[0].family):
            only = "only " if len(owners) == 1 else ""
            where = f"{only}in {', '.join(spec.title for spec in owners)}"
            found.append(Part(f"{where}: {extra.title}", {name: files}, extra.shown))
    return found


def _own_networks(spec: BackendSpec, cards: Iterable[ModelCard]) -> Iterator[ExtraCode]:
    """Networks of a tuned variant that its base does not use."""
    base = backends().get(spec.base)
    if base is None:
        return
    for title, (network,) in _models(spec, cards).items():
        if network.path not in {
            file.path for files in _models(base, cards).values() for file in files
        }:
            yield ExtraCode(title=f"its own {title}", files=(network.path, *spec.network_code))


def _sum(sources: tuple[Source, ...]) -> int | None:
    counts = [source.lines for source in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _network(network: str, family: Family) -> Source:
    """The file that holds a network: a module, or a path of a file."""
    if network.endswith(tuple(LANGUAGES)):
        path = Path(network)
        for name, root in family.roots().items():
            if path.is_relative_to(root):
                return Source(
                    f"{name}/{path.relative_to(root).as_posix()}", path.read_text("utf-8")
                )
        return Source(f"{path.parent.name}/{path.name}", path.read_text("utf-8"))
    return _read((f"{network.replace('.', '/')}.py",), family)[0]


def _root(top: str, family: Family) -> Path:
    """The folder of the first component of a pattern, in a checkout and when installed alike."""
    roots = family.roots()
    if top in roots:
        return roots[top]
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        raise ValueError(f"family {family.name}: there is no package {top}")
    return Path(spec.origin).parent


def _read(patterns: Iterable[str], family: Family) -> tuple[Source, ...]:
    """The files of all ``patterns``; none at all where one of these finds nothing."""
    found = []
    for pattern in patterns:
        top, _, below = pattern.partition("/")
        root = _root(top, family)
        paths = sorted(path for path in root.glob(below) if path.is_file())
        if not paths:
            return ()
        found += [
            Source(f"{top}/{path.relative_to(root).as_posix()}", path.read_text("utf-8"))
            for path in paths
        ]
    return tuple(found)

"""Dataset cards: what a known data set is, where it comes from, and what others reached on it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BenchError, unknown
from harness.files import first_line, read_bytes
from harness.paths import cards_dir

_MAX_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class CardFile:
    """A file of a data set, with ``sha256``, or with ``md5`` where nothing else is published.

    ``content_sha256`` is of its unpacked bytes, where it is known.
    """

    name: str
    sha256: str | None = None
    content_sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Reference:
    """A published result, as published."""

    model: str
    metric: str
    value: str
    where: str


@dataclass(frozen=True)
class Card:
    """A known data set. ``kind`` names the source that reads ``files``.

    Where it cannot be had from a mirror, ``kaggle`` names it there, ``size`` is what its images
    are brought to, and ``steps`` say how a person gets it by hand.
    """

    name: str
    title: str
    task: str
    classes: tuple[str, ...]
    images: str
    homepage: str
    license: str
    citation: str
    kind: str
    mirrors: tuple[str, ...] = ()
    files: tuple[CardFile, ...] = ()
    system_folders: tuple[Path, ...] = ()
    system_package: str = ""
    kaggle: str = ""
    size: int | None = None
    steps: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


def read_card(path: Path) -> Card:
    """Read one card; BenchError when it is not what a card must be."""
    try:
        table = tomllib.loads(read_bytes(path, _MAX_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not valid TOML: {first_line(error)}") from error
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        card = _card(table)
    except KeyError as error:
        raise BenchError(f"{path}: the key {error} is missing from this card") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise BenchError(f"{path}: not a dataset card: {error}") from error
    if card.name != path.stem:
        raise BenchError(f"{path}: says name = {card.name!r}, expected the file's own name")
    for mirror in card.mirrors:
        if not mirror.startswith("https://"):
            raise BenchError(f"{path}: mirror {mirror!r}: must begin with https://")
    for file in card.files:
        if Path(file.name).name != file.name:
            raise BenchError(f"{path}: {file.name!r} is no name of a file")
        if file.sha256 is None and file.md5 is None:
            raise BenchError(f"{path}: {file.name}: neither sha256 nor md5 is given")
        for digest in filter(None, (file.sha256, file.content_sha256)):
            if not _SHA256.fullmatch(digest):
                raise BenchError(f"{path}: {file.name}: {digest!r} is not a SHA-256 checksum")
        if file.md5 is not None and not _MD5.fullmatch(file.md5):
            raise BenchError(f"{path}: {file.name}: {file.md5!r} is not an MD5 checksum")
    return card


def _card(table: dict[str, Any]) -> Card:
    source = table["source"]
    return Card(
        name=table["name"],
        title=table["title"],
        task=table["task"],
        classes=tuple(table["classes"]),
        images=table["images"],
        homepage=table["homepage"],
        license=table["license"],
        citation=table["citation"],
        kind=source["kind"],
        mirrors=tuple(mirror.rstrip("/") + "/" for mirror in source.get("mirrors", ())),
        files=tuple(
            CardFile(file["name"], file.get("sha256"), file.get("content_sha256"), file.get("md5"))
            for file in source.get("files", ())
        ),
        system_folders=tuple(Path(folder) for folder in source.get("system_folders", ())),
        system_package=source.get("system_package", ""),
        kaggle=source.get("kaggle", ""),
        size=source.get("size"),
        steps=tuple(source.get("steps", ())),
        references=tuple(Reference(**entry) for entry in table.get("references", ())),
    )


def load_cards(folder: Path | None = None) -> dict[str, Card]:
    """All cards of ``folder`` (default: those that travel with the harness), by name."""
    paths = sorted((folder or cards_dir()).glob("*.toml"))
    return {card.name: card for card in map(read_card, paths)}


def find_card(name: str) -> Card:
    """The card called ``name``; BenchError with a suggestion where there is none."""
    cards = load_cards()
    if name not in cards:
        raise unknown_dataset(name, cards)
    return cards[name]


def unknown_dataset(name: str, known: Iterable[str]) -> BenchError:
    """The error for a ``name`` that is no data set, known or imported."""
    error = unknown("data set", name, sorted(known))
    return BenchError(f"{error}; your own: `bench data import PATH --name NAME`")

"""Published figures that stand beside those of a run, from ``datasets/reference``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.paths import cards_dir


@dataclass(frozen=True, kw_only=True)
class Study:
    """What somebody published, and on what."""

    name: str
    source: str
    data: str
    model: str
    image: str
    images: str
    split: str
    auroc: dict[str, float]

    def of(self, label: str) -> float:
        """AUROC of ``label``, whatever the spelling of its words."""
        return {_plain(name): value for name, value in self.auroc.items()}[_plain(label)]


def studies(labels: Sequence[str]) -> list[Study]:
    """Those whose labels are ``labels``, in any order."""
    wanted = set(map(_plain, labels))
    return [
        study
        for path in sorted((cards_dir() / "reference").glob("*.toml"))
        for study in _read(path)
        if set(map(_plain, study.auroc)) == wanted
    ]


def _read(path: Path) -> list[Study]:
    file = tomllib.loads(path.read_text("utf-8"))
    return [Study(data=file["title"], **study) for study in file["studies"]]


def _plain(label: str) -> str:
    return label.casefold().replace("_", " ").replace("-", " ").strip()

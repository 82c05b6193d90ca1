"""The caches of the CPU, which decide with its vector extensions how fast a convolution can be."""

from __future__ import annotations

from pathlib import Path

CPU = Path("/sys/devices/system/cpu/cpu0/cache")
KINDS = {"Data": "d", "Instruction": "i"}


def caches(folder: Path = CPU) -> dict[str, str]:
    """Sizes of the first core's caches by name ('L1d': '32K'); empty where the system tells none.

    A cache that several cores share is given as a whole.
    """
    found = {}
    for index in sorted(folder.glob("index[0-9]*")):
        level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
        if level and size:
            found[f"L{level}{KINDS.get(kind, '')}"] = size
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""

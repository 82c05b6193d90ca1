"""What the layout of the code promises: who may import whom, and who may name a framework."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "harness").rglob("*.py"))
# Where a framework may be named: its own code, the twins of the models, and what drives Julia.
THEIRS = ("harness/backends/", "harness/models/")
NAMES = re.compile(
    r"\b(torch|pytorch|torchvision|jax|flax|optax|xla|knet|julia\w*|keras|tinygrad|tensorflow)\b",
    re.I,
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def private_imports(path: Path) -> Iterator[str]:
    """Names with a leading underscore that a module takes from another of the harness."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness"):
            modules |= {alias.asname or alias.name for alias in node.names}
            yield from (a.name for a in node.names if re.match(r"_[^_]", a.name))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and re.match(r"_[^_]", node.attr)
        ):
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_module_takes_private_names_of_another(path: Path) -> None:
    assert list(private_imports(path)) == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if not relative(path).startswith(THEIRS)], ids=relative
)
def test_frameworks_are_named_only_in_their_own_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), start=1)
        if NAMES.search(line)
    ]
    assert found == []

"""``bench doctor``: which frameworks load here, where they are, and what fixes the others."""

from __future__ import annotations

import click

from harness.cli.options import LIST
from harness.cli.tables import JSON, show
from harness.console import terminal

HEADINGS = ["framework", "ready", "versions", "where", "why not", "to fix"]


@click.command()
@click.option("--frameworks", **LIST, help="Backends to check [default: all].")
@JSON
def doctor(frameworks: list[str] | None, as_json: bool) -> None:
    """Report for every framework whether it loads, its versions, where it is, and how to fix it.

    Each is loaded in a child process, as in a run; one that compiles its packages takes minutes.
    Exit code 1 when one that was named is not ready; without names, when none is.
    """
    from harness.backends.spec import MissingRequirement
    from harness.execution.loading import requirement_to_load
    from harness.plugins import backends, find_backend

    specs = [find_backend(name) for name in frameworks or ()] or list(backends().values())
    rows, needs = [], []
    loaded: dict[str, MissingRequirement | None] = {}  # variants of one framework load the same
    for spec in specs:
        need = spec.missing_requirement()
        if need is None:
            if spec.install not in loaded:
                terminal.note(f"loading {spec.name} ...")
                loaded[spec.install] = requirement_to_load(spec)
            need = loaded[spec.install]
        versions = [f"{name} {version}" for name, version in spec.versions().items()]
        why, fix = (need.why, need.fix) if need else (None, None)
        cells = (spec.name, need is None, versions, spec.location() or None, why, fix)
        rows.append(dict(zip(HEADINGS, cells, strict=True)))
        needs.append(need)
    show(rows, HEADINGS, as_json=as_json)
    problems = {problem: spec for spec in reversed(specs) for problem in spec.present_problems()}
    for problem, spec in problems.items():
        terminal.warn(f"{spec.family.name}: {problem}")
    if any(needs) if frameworks else all(needs):
        raise click.exceptions.Exit(1)

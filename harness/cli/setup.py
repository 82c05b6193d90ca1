"""``bench setup``: install what a framework needs and pip cannot bring."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.console import terminal

if TYPE_CHECKING:
    from harness.backends.setup import Action
    from harness.backends.spec import BackendSpec


@click.command()
@click.argument("framework")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def setup(framework: str, dry_run: bool) -> None:
    """Install what FRAMEWORK needs and pip cannot bring: another language, its packages.

    Into the user's cache: nothing of the system changes. An installation that is there is loaded,
    and replaced when it does not load. Exit code 1 when this machine allows no way.
    """
    from harness.backends.setup import CannotInstallError, DoesNotLoadError
    from harness.plugins import find_backend

    spec = find_backend(framework)
    if not spec.setup:
        raise click.UsageError(f"there is nothing to set up for {spec.name}: {spec.install}")
    try:
        try:
            _carry_out(_plan(spec, repair=False), dry_run)
        except DoesNotLoadError as error:
            terminal.warn(f"{error}; installing it again")
            _carry_out(_plan(spec, repair=True), dry_run)
    except CannotInstallError as error:
        terminal.error(str(error))
        raise click.exceptions.Exit(1) from None
    if not dry_run:
        click.echo(f"ready: {framework}")


def _plan(spec: BackendSpec, *, repair: bool) -> Sequence[Action]:
    from harness.execution.loading import requirement_to_load

    module, _, name = spec.setup.partition(":")
    actions: Sequence[Action] = getattr(importlib.import_module(module), name)(
        requirement_to_load, repair=repair
    )
    return actions


def _carry_out(actions: Sequence[Action], dry_run: bool) -> None:
    for action in actions:
        would = "would " if dry_run and action.run is not None else ""
        click.echo(f"{would}{action.sentence}")
        if action.run is not None and not dry_run:
            action.run()

"""``bench setup``: install what a framework in another language needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.console import terminal

if TYPE_CHECKING:
    from harness.backends.julia.actions import Action


@click.command()
@click.argument("what", type=click.Choice(["julia", "knet"]))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def setup(what: str, dry_run: bool) -> None:
    """Install Julia, or Knet.jl with the Julia that it needs, where they are not there yet.

    Through juliapkg where Julia's servers answer; else, for Julia alone, from Debian's packages,
    unpacked into the user's cache. Nothing of the system changes. An installation that is there is
    loaded, and replaced when it does not load. Exit code 1 when neither way is open.
    """
    from harness.backends.julia.actions import CannotInstallError
    from harness.backends.julia.setup import DoesNotLoadError, plan

    try:
        try:
            _carry_out(plan(what), dry_run)
        except DoesNotLoadError as error:
            terminal.warn(f"{error}; installing it again")
            _carry_out(plan(what, repair=True), dry_run)
    except CannotInstallError as error:
        terminal.error(str(error))
        raise click.exceptions.Exit(1) from None
    if not dry_run:
        click.echo(f"ready: {what}")


def _carry_out(actions: Sequence[Action], dry_run: bool) -> None:
    for action in actions:
        would = "would " if dry_run and action.run is not None else ""
        click.echo(f"{would}{action.sentence}")
        if action.run is not None and not dry_run:
            action.run()

"""``bench setup``: install what a framework in another language needs."""

from __future__ import annotations

import click

from harness.console import terminal


@click.command()
@click.argument("what", type=click.Choice(["julia", "knet"]))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def setup(what: str, dry_run: bool) -> None:
    """Install Julia, or Knet.jl with the Julia that it needs, where they are not there yet.

    Through juliapkg where Julia's servers answer; else, for Julia alone, from Debian's packages.
    Exit code 1 when neither can be.
    """
    from harness.backends.julia.actions import CannotInstallError
    from harness.backends.julia.setup import plan

    try:
        for action in plan(what):
            if action.run is None:
                click.echo(action.sentence)
            elif dry_run:
                click.echo(f"would {action.sentence}")
            else:
                click.echo(action.sentence)
                action.run()
    except CannotInstallError as error:
        terminal.error(str(error))
        raise click.exceptions.Exit(1) from None

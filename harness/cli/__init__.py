"""The command ``bench``: one module a verb, imported only when that verb is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

from harness import __version__
from harness.errors import BenchError

_VERBS = {
    "run": "Train and compare, then write the report.",
    "report": "Render the report of a finished run again.",
    "compare": "Hold two runs or more against each other: speed and accuracy.",
    "reproduce": "Make a run again and say what came out equal.",
    "check": "Hold a run against stored baselines; for CI.",
    "baseline": "Store what a run reached, or show what is stored.",
    "evaluate": "Judge trained weights in one framework or several.",
    "parity": "Prove that the frameworks compute the same, from the same weights and batches.",
    "weights": "Copy trained weights out of a run, or import torchvision's.",
    "data": "Export, import, fetch, validate and describe data sets.",
    "setup": "Install Julia, or Knet.jl, where they are not there yet.",
    "doctor": "Say which frameworks are ready, where they are, and how to mend the others.",
}


class LazyGroup(click.Group):
    """Knows its verbs and their help without importing them: ``bench --help`` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"harness.cli.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            from harness.console import terminal

            terminal.error(str(error))
            ctx.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Train the same networks, from the same numbers, in several frameworks; compare them."""

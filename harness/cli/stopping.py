"""What ``run`` and ``reproduce`` do when they are told to stop: a report of what there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def reporting_early(out: Path) -> Iterator[None]:
    """When the block is told to stop, report what the run in ``out`` has kept, and exit.

    The one line says how to resume; see ``harness.signals`` for the exit code.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not (out / "experiment.json").exists():
            raise
        from harness import signals
        from harness.console import terminal
        from harness.errors import BenchError
        from harness.report.markdown import render

        kept = "finished cells are kept"
        with contextlib.suppress(BenchError):  # there is no result yet
            kept += f" and reported in {render(out)}"
        terminal.error(f"{signals.description()}; {kept}: add --resume --out {out} to resume")
        raise SystemExit(signals.exit_code()) from None

"""Whether a framework loads: in a child process, what a worker does before it trains.

That a package is installed does not say that it loads. ``bench doctor`` and ``bench setup`` ask
here before they report a framework as ready.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable

from harness.backends.registry import BackendSpec, Need
from harness.paths import cache_dir
from harness.worker import thread_settings

TIME_LIMIT_S = 900
"""Of a load. Julia compiles a package again whose dependencies have changed: minutes for Knet."""
_MARK = "ERROR: cannot load: "
# These follow the cause, or stand around it.
_CONSEQUENCE = re.compile(r"[Ff]ailed to precompile|failed process")


def need_to_load(spec: BackendSpec, *, timeout: float = TIME_LIMIT_S) -> Need | None:
    """What keeps an installed framework from loading, or None when it loads.

    What the framework prints is kept in a log file, which the answer names.
    """
    log = cache_dir() / "logs" / f"load-{spec.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            code = subprocess.run(
                [sys.executable, "-P", "-m", "harness.backends.loading", spec.factory],
                env=os.environ | thread_settings(1) | spec.environment(1),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        return Need(f"did not load within {timeout:.0f} s ({log})", spec.install)
    if code == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    why = f"its process ended with code {code}"
    if code > 0:
        why = cause(lines).removeprefix(_MARK) or why
    return Need(f"is installed but does not load: {why} ({log})", spec.install)


def cause(lines: Iterable[str]) -> str:
    """The line in which a failed program says why; empty where it says nothing.

    Julia and apt mark errors; of several, the first that is not a consequence of another.
    """
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.upper().startswith(("E:", "ERROR"))]
    causes = [line for line in errors if not _CONSEQUENCE.search(line)]
    return [*causes, *errors, *said[-1:], ""][0]


def _load(factory: str) -> None:
    module, _, name = factory.partition(":")
    getattr(importlib.import_module(module), name).start()


if __name__ == "__main__":
    try:
        _load(sys.argv[1])
    except Exception as error:
        import traceback

        traceback.print_exc()
        sys.exit(f"{_MARK}{type(error).__name__}: {error}".splitlines()[0])

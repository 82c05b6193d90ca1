"""Whether a framework loads: in a child process, what a worker does before it trains.

That a package is installed does not say that it loads. ``bench doctor`` and ``bench setup`` ask
here before they report a framework as ready.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

from harness.backends.spec import BackendSpec, MissingRequirement
from harness.paths import cache_dir
from harness.processes import cause, thread_settings

TIME_LIMIT_S = 900
"""Of a load. Compiling packages again whose dependencies have changed takes minutes."""
_MARK = "ERROR: cannot load: "


def requirement_to_load(
    spec: BackendSpec, *, timeout: float = TIME_LIMIT_S
) -> MissingRequirement | None:
    """What keeps an installed framework from loading, or None when it loads.

    What the framework prints is kept in a log file, which the answer names.
    """
    log = cache_dir() / "logs" / f"load-{spec.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            code = subprocess.run(
                [sys.executable, "-P", "-m", "harness.execution.loading", spec.factory],
                env=os.environ | thread_settings(1) | spec.environment(1),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        return MissingRequirement(f"did not load within {timeout:.0f} s ({log})", spec.install)
    if code == 0:
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    why = f"its process ended with code {code}"
    if code > 0:
        why = cause(lines).removeprefix(_MARK) or why
    return MissingRequirement(f"is installed but does not load: {why} ({log})", spec.install)


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

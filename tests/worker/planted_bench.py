"""The command ``bench``, with the planted backends as the only ones it knows."""

from planted import SPECS

from harness.backends.registry import BACKENDS
from harness.cli import main

BACKENDS.clear()
BACKENDS.update(SPECS)
main()

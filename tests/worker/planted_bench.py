"""The command ``bench``, with the planted backends as the only ones it knows."""

import os

from planted import SPECS

from harness import worker
from harness.backends.registry import BACKENDS
from harness.cli import main

worker._STOP_GRACE_S = float(os.environ.get("PLANTED_GRACE", worker._STOP_GRACE_S))
BACKENDS.clear()
BACKENDS.update(SPECS)
main()

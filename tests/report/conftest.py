"""Made-up runs: see ``tests/fixtures/made_up.py``."""

from __future__ import annotations

from made_up import make_run as make_run

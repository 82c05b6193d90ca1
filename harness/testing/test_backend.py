"""Collected by ``pytest --pyargs harness.testing --backend NAME``."""

from harness.testing.backend import BackendConformance


class TestBackend(BackendConformance):
    """Of every name that ``--backend`` gives."""

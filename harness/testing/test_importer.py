"""Collected by ``pytest --pyargs harness.testing --importer NAME``."""

from harness.testing.importer import ImporterConformance


class TestImporter(ImporterConformance):
    """Of every name that ``--importer`` gives."""

"""The sections of the report, one module each; their order is in :mod:`harness.report.registry`."""

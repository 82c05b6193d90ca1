"""Collected by ``pytest --pyargs harness.testing --model NAME``."""

from harness.testing.model import ModelConformance


class TestModel(ModelConformance):
    """Of every name that ``--model`` gives."""

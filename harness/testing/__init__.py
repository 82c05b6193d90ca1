"""Conformance kit for backends, models and importers, the built-in ones and those of plug-ins.

From a shell, once the package is installed::

    pytest --pyargs harness.testing --backend NAME
    pytest --pyargs harness.testing --model NAME
    pytest --pyargs harness.testing --importer NAME --sample PATH

In a test suite, as a class that says what it tests::

    from harness.testing.backend import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

``harness.testing.model`` has ``ModelConformance``, ``harness.testing.importer``
``ImporterConformance``. Needs pytest, which comes with the harness.
"""

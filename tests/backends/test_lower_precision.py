"""Variants in a lower precision refuse a higher one."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.errors import BenchError
from harness.plugins import backends


@pytest.mark.parametrize(
    "name", [name for name, spec in backends().items() if spec.lower_precision]
)
def test_float64_is_refused_in_one_sentence(name: str, small_file: Path) -> None:
    spec = backends()[name]
    if (reason := spec.missing()) is not None:
        pytest.skip(f"{name} {reason}")
    module, _, attribute = spec.factory.partition(":")
    task = TrainingJob(
        model="lenet5",
        dataset=small_file,
        optimizer=Optimizer(),
        precision="float64",
        threads=1,
    )
    with pytest.raises(BenchError, match=f"{name} .* --precision float32"):
        getattr(importlib.import_module(module), attribute)(task)

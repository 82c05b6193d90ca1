"""Experiments for the accuracy gate, trained for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import Experiment, Training
from harness.execution.runner import prepare
from harness.execution.runner import run as execute
from harness.plugins import backends
from harness.results.records import CellResult

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture
def train(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[CellResult]]:
    """Train frameworks as a baseline says; ``factory`` plants another backend in its place."""

    def run(
        frameworks: list[str],
        model: str,
        dataset: str,
        training: Training,
        seeds: tuple[int, ...],
        factory: str | None = None,
    ) -> list[CellResult]:
        for framework in frameworks:
            if (reason := backends()[framework].missing()) is not None:
                pytest.skip(f"{framework} {reason}")
        folder = tmp_path_factory.mktemp("run")
        comparison = prepare(
            Experiment(
                frameworks=tuple(frameworks),
                models=(model,),
                datasets=(dataset,),
                seeds=seeds,
                accuracy_only=True,
                training=training,
            ),
            out=folder / "out",
            data_dir=folder,
        )
        if factory is not None:
            monkeypatch.setenv("PYTHONPATH", str(HERE))
            (framework,) = frameworks
            spec = replace(comparison.backends[framework], factory=factory)
            comparison.backends[framework] = spec
        return execute(comparison)

    return run

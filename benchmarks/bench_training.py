"""Training: one benchmark a cell, one round a pass, measured inside the framework's process."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.execution.runner import Comparison
from harness.measure.clocks import RoundClock
from harness.plan import Cell
from harness.results.load import auroc_labels
from harness.stats.metrics import mean_auroc

CLOCK = RoundClock()


@pytest.mark.benchmark(timer=CLOCK.seconds)
def test_training(cell: Cell, comparison: Comparison, benchmark: BenchmarkFixture) -> None:
    result = comparison.result(cell)
    if result.status != "ok":
        pytest.fail(f"{cell}: {result.error}", pytrace=False)
    assert result.phases is not None
    assert result.test is not None

    labels = auroc_labels(comparison.folder.manifest.datasets[cell.dataset])

    CLOCK.load(result.round_seconds.tolist())
    benchmark.group = f"{cell.dataset} {cell.model}, seconds an epoch"
    benchmark.pedantic(CLOCK.play_round, rounds=len(result.rounds), iterations=1)
    benchmark.extra_info.update(
        cell.model_dump(),
        images_per_epoch=result.epochs[0].images,
        test_accuracy=result.test.accuracy,
        test_loss=result.test.loss,
        test_auroc=mean_auroc(result.test.auroc),
        test_auroc_of=dict(zip(labels, result.test.auroc, strict=False)),
        validation_accuracy=[epoch.val_accuracy for epoch in result.epochs],
        training_loss=[epoch.loss for epoch in result.epochs],
        peak_rss_bytes=result.peak_rss_bytes,
        **result.phases.model_dump(),
    )

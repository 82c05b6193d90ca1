"""Training: one benchmark a cell, one round a pass, measured inside the framework's process.

The rounds are replayed from a run folder: of ``--run-folder DIR``, or of a run that is made now:

pytest benchmarks/bench_training.py --frameworks torch,jax --epochs 5
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.measure.replay import ReplayTimer
from harness.plan import Cell
from harness.results.folder import RunFolder
from harness.results.load import auroc_labels
from harness.stats.metrics import mean_auroc

TIMER = ReplayTimer()


@pytest.mark.benchmark(timer=TIMER.seconds)
def test_training(cell: Cell, finished: RunFolder, benchmark: BenchmarkFixture) -> None:
    result = finished.read_result(cell)
    if result is None:
        pytest.fail(f"{cell}: has no result; finish the run with --resume", pytrace=False)
    if result.status != "ok":
        pytest.fail(f"{cell}: {result.error}", pytrace=False)
    assert result.phases is not None
    assert result.test is not None

    labels = auroc_labels(finished.manifest.datasets[cell.dataset])

    TIMER.load(result.round_seconds.tolist())
    benchmark.group = f"{cell.dataset} {cell.model}, seconds an epoch"
    benchmark.pedantic(TIMER.play_round, rounds=len(result.rounds), iterations=1)
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

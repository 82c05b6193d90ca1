"""Made-up runs for the verbs that compare them: nothing in them was measured."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.config import parse_experiment
from harness.plan import Cell, plan
from harness.results.folder import CellArrays, DatasetEntry, Manifest, RunFolder
from harness.results.records import CellResult, Conditions, Epoch, FinalScore, Identity, Phases
from harness.stats.metrics import evaluate

IMAGES = 512
EXAMPLES = 200


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run: ``rate`` images a second where matrix products run at ``gemm`` GFLOP/s.

    Rounds spread by ``noise`` about these. ``quality`` is how far right answers stand out; runs of
    the same quality answer alike.
    """

    def make(
        name: str = "run",
        *,
        frameworks: tuple[str, ...] = ("swift", "tidy"),
        seeds: tuple[int, ...] = (0,),
        epochs: int = 12,
        rate: float | Mapping[str, float] = 1000.0,
        gemm: float | None = 50.0,
        other_load: float | None = None,
        noise: float = 0.01,
        quality: float = 3.0,
        classes: tuple[str, ...] = ("a", "b", "c"),
        failed: Collection[str] = (),
        missing: Collection[str] = (),
        skipped: Mapping[str, str] | None = None,
        data: str = "data",
        weights: str = "weights",
        device: str = "cpu",
        cpu: str = "made up",
        created: str = "2001-02-03T04:05:06+00:00",
        versions: Mapping[str, str] | None = None,
        **training: Any,
    ) -> Path:
        experiment = parse_experiment(
            {"frameworks": frameworks, "seeds": seeds, "threads": 1, "device": device,
             "training": {"epochs": epochs} | training},
            where="test",
        )  # fmt: skip
        groups = plan(frameworks=frameworks, models=("lenet5",), datasets=("digits",), seeds=seeds)
        entry = DatasetEntry(
            path="digits.h5", sha256=data, train=IMAGES, val=9, test=EXAMPLES,
            image_shape=(1, 28, 28), classes=classes, task="multiclass", source="[]",
            split="", license="",
        )  # fmt: skip
        manifest = Manifest(
            harness_version="0", created=created, command="", experiment=experiment,
            skipped=dict(skipped or {}), datasets={"digits": entry},
            cells=tuple(cell for group in groups for cell in group),
        )  # fmt: skip
        environment = {"cpu": cpu, "versions": dict(versions or {"numpy": "2.0.0"})}
        folder = RunFolder.create(tmp_path / name, manifest, environment)
        for cell in manifest.cells:
            if cell.framework in missing:
                continue
            if cell.framework in failed:
                fault = CellResult(cell=cell, status="failed", error="out of luck", started=created)
                folder.write_result(fault)
                continue
            speed = rate if isinstance(rate, float) else rate[cell.framework]
            random = np.random.default_rng([zlib.crc32(f"{name} {cell}".encode())])
            rates = speed * np.exp(noise * random.standard_normal(epochs))
            arrays = answers(cell, quality, len(classes))
            judged = evaluate("multiclass", arrays.test_logits, arrays.test_labels)
            folder.write_arrays(cell, arrays)
            folder.write_result(
                CellResult(
                    cell=cell,
                    started=created,
                    phases=Phases(
                        start_s=1, import_s=1, build_s=1, first_step_s=1, first_predict_s=1
                    ),
                    epochs=tuple(
                        Epoch(
                            seconds=IMAGES / each, images=IMAGES, loss=1, val_loss=1,
                            val_accuracy=1, evaluate_s=1,
                            conditions=None
                            if gemm is None
                            else Conditions(gemm_gflops=gemm, other_load=other_load),
                        )
                        for each in rates
                    ),
                    test=FinalScore(
                        examples=judged.examples, correct=judged.correct,
                        accuracy=judged.accuracy, loss=judged.loss, auroc=judged.auroc, seconds=1,
                    ),
                    identity=Identity(
                        data=data, initial_weights=weights, batch_order=str(cell.seed),
                        learning_rates="rates",
                    ),
                )
            )  # fmt: skip
        return folder.path

    return make


def answers(cell: Cell, quality: float, classes: int) -> CellArrays:
    labels = np.arange(EXAMPLES) % classes
    noise = np.random.default_rng([cell.seed]).standard_normal((EXAMPLES, classes))
    return CellArrays(
        step_losses=np.ones(4),
        test_logits=(noise + quality * np.eye(classes)[labels]).astype(np.float32),
        test_labels=labels.astype(np.uint8),
    )


@pytest.fixture
def verb() -> Callable[..., Result]:
    """Runs ``bench WORDS`` in this process."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(main, list(map(str, words)))

    return run

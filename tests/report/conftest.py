"""A made-up run: nothing in it was measured; it only has the shape of a real one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from harness.config import parse_experiment
from harness.measure.examples import Examples, choose
from harness.measure.operations import Operation
from harness.plan import Cell, plan
from harness.results.folder import CellArrays, DatasetEntry, Manifest, RunFolder
from harness.results.records import (
    CellResult,
    Conditions,
    Epoch,
    Identity,
    Latency,
    MachinePeak,
    Phases,
    Round,
    Score,
)
from harness.stats.metrics import evaluate

EXAMPLES = 60
STEPS = 8
TRAIN = 512


def digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


@dataclass
class MadeUp:
    """How the run comes out; tests change what they are about."""

    frameworks: tuple[str, ...] = ("torch", "jax", "torch-compile")
    models: tuple[str, ...] = ("lenet5",)
    datasets: tuple[str, ...] = ("digits",)
    seeds: tuple[int, ...] = (0, 1)
    epochs: int = 8
    skipped: dict[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = tuple("0123456789")
    seconds: dict[str, float] = field(
        default_factory=lambda: {"torch": 0.5, "jax": 0.4, "torch-compile": 0.5}
    )
    wrong: dict[str, int] = field(default_factory=lambda: {"torch": 2, "jax": 3})
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    missing: Iterable[tuple[str, int]] = ()
    identity: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)
    loss_offset: dict[str, float] = field(default_factory=dict)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    task: Literal["multiclass", "multilabel"] = "multiclass"
    license: str = "none"
    patients: bool = True
    never: tuple[str, ...] = ()
    """Labels that no test image has."""
    quality: dict[str, float] = field(default_factory=dict)
    """Of a framework with several labels or two classes: how far positives stand out."""
    examples: bool = False
    """Whether test images and maps were kept, of the first seed."""
    adapted: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    deciding: Examples | None = None
    """What the first cell has chosen."""
    image_shape: tuple[int, int, int] = (1, 28, 28)
    machine: MachinePeak | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the experiment."""
    speeds: dict[str, Sequence[float]] = field(default_factory=dict)
    """Of a framework: images a second, round by round; those beyond the epochs are extra."""
    validation: dict[str, Sequence[float]] = field(default_factory=dict)
    """Of a framework: validation accuracy, epoch by epoch."""
    conditions: Callable[[Cell, int], Conditions | None] = lambda cell, number: None
    inference: dict[str, tuple[Latency, ...]] = field(default_factory=dict)
    operations: dict[str, dict[Operation, float]] = field(default_factory=dict)

    def scored(self, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        """Logits and labels of several labels, or of two classes."""
        labels = np.random.default_rng(9).random((EXAMPLES, len(self.classes))) < 0.3
        labels[:, [name in self.never for name in self.classes]] = False
        noise = np.random.default_rng(cell.seed).standard_normal(labels.shape)
        logits = noise + self.quality.get(cell.framework, 1.0) * labels - 1
        if self.task == "multiclass":
            return np.stack([0 * logits[:, 0], logits[:, 0]], axis=1), labels[:, 0].astype(np.uint8)
        return logits, labels.astype(np.uint8)

    def result(self, cell: Cell) -> tuple[CellResult, CellArrays | None]:
        started = "2001-02-03T04:05:06+00:00"
        key = (cell.framework, cell.seed)
        if key in self.failed:
            return CellResult(
                cell=cell, status="failed", error=self.failed[key], started=started
            ), None
        generator = np.random.default_rng([cell.seed, *cell.framework.encode()])
        noise = 1 + 0.02 * generator.standard_normal(self.epochs)
        epochs = tuple(
            Epoch(
                seconds=float(self.seconds.get(cell.framework, 0.5) * noise[n]),
                images=TRAIN,
                loss=2.0 / (n + 1),
                val_loss=2.1 / (n + 1),
                val_accuracy=1 - 0.5 / (n + 1),
                evaluate_s=0.01,
                conditions=self.conditions(cell, n),
            )
            for n in range(self.epochs)
        )
        paces = self.speeds.get(cell.framework, ())
        scores = self.validation.get(cell.framework, ())
        epochs = tuple(
            epoch.model_copy(
                update=({"seconds": TRAIN / paces[n]} if n < len(paces) else {})
                | ({"val_accuracy": scores[n]} if n < len(scores) else {})
            )
            for n, epoch in enumerate(epochs)
        )
        extra = tuple(
            Round(seconds=TRAIN / pace, images=TRAIN, conditions=self.conditions(cell, n))
            for n, pace in enumerate(paces)
            if n >= self.epochs
        )
        first_seed = cell.seed == self.seeds[0]
        shared = np.random.default_rng(cell.seed)
        labels = shared.integers(0, len(self.classes), EXAMPLES).astype(np.uint8)
        answers = labels.copy()
        wrong = self.wrong.get(cell.framework, 2) + cell.seed
        answers[:wrong] = (answers[:wrong] + 1) % len(self.classes)
        logits = np.eye(len(self.classes), dtype=np.float32)[answers]
        test = Score(
            examples=EXAMPLES,
            correct=EXAMPLES - wrong,
            accuracy=(EXAMPLES - wrong) / EXAMPLES,
            loss=0.12,
            seconds=0.03,
        )
        if self.task == "multilabel" or len(self.classes) == 2:
            logits, labels = self.scored(cell)
            score = evaluate(self.task, logits, labels)
            test = Score(**score._asdict(), accuracy=score.accuracy, seconds=0.03)
            shown = {"val_auroc": score.mean_auroc}
            epochs = tuple(epoch.model_copy(update=shown) for epoch in epochs)
        steps = np.arange(self.epochs * STEPS)
        losses = 2.3 * np.exp(-0.05 * steps) * np.exp(0.1 * shared.standard_normal(len(steps)))
        losses = losses * (1 + self.loss_offset.get(cell.framework, 0.0))
        identity = {
            "data": digest(cell.dataset),
            "initial_weights": digest("weights", cell.model, cell.seed),
            "batch_order": digest("order", cell.seed),
            "learning_rates": digest("rates"),
        }
        identity |= self.identity.get(key, {})
        result = CellResult(
            cell=cell,
            started=started,
            phases=Phases(
                start_s=0.1,
                import_s=1.5 + cell.seed,
                build_s=0.05,
                first_step_s=0.3 * (1 + len(cell.framework)),
                first_predict_s=0.02,
            ),
            epochs=epochs,
            test=test,
            identity=Identity(**identity),
            parameters=61706,
            adapted=self.adapted,
            peak_rss_bytes=(300 + cell.seed) * 2**20,
            facts={"threads": "2", cell.framework: "0.0.0-made-up"}
            | self.facts.get(cell.framework, {}),
            extra_rounds=extra,
            inference=self.inference.get(cell.framework, ()) if first_seed else (),
            operations=self.operations.get(cell.framework, {}) if first_seed else {},
        )
        arrays = CellArrays(step_losses=losses, test_logits=logits, test_labels=labels)
        if self.patients:
            arrays = arrays.model_copy(update={"test_groups": np.arange(EXAMPLES) // 2})
        if self.examples and cell.seed == self.seeds[0]:
            arrays = arrays.model_copy(update=self.shown(cell, arrays))
        return result, arrays

    def shown(self, cell: Cell, arrays: CellArrays) -> dict[str, np.ndarray]:
        """Maps whose largest value is 4; those of another framework than torch differ by 1."""
        chosen = choose(self.task, arrays.test_logits, arrays.test_labels, arrays.test_groups)
        if self.deciding is None:
            self.deciding = chosen
        maps = np.zeros((len(self.deciding.rows), 3, 3), np.float32)
        maps[:, 1, 1] = 4
        maps[:, 0, 2] = cell.framework != "torch"
        pixels = np.random.default_rng(7).integers(0, 256, (len(maps), *self.image_shape))
        return {
            "example_rows": self.deciding.rows,
            "example_outputs": self.deciding.outputs,
            "example_images": pixels.astype(np.uint8),
            "example_maps": maps,
        }


MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a made-up run; keyword arguments are those of :class:`MadeUp`."""

    def make(name: str = "run", **changes: Any) -> RunFolder:
        made = MadeUp(**changes)
        experiment = parse_experiment(
            {
                "frameworks": made.frameworks,
                "models": made.models,
                "datasets": made.datasets,
                "seeds": made.seeds,
                "threads": 1,
                "device": made.device,
                "training": {"epochs": made.epochs} | made.training,
            }
            | made.settings,
            where="test",
        )
        groups = plan(
            frameworks=made.frameworks,
            models=made.models,
            datasets=made.datasets,
            seeds=made.seeds,
        )
        entry = DatasetEntry(
            path="made-up.h5",
            sha256=digest("data"),
            train=TRAIN,
            val=EXAMPLES,
            test=EXAMPLES,
            image_shape=made.image_shape,
            classes=made.classes,
            task=made.task,
            source=json.dumps([{"file": "made_up.csv", "sha256": digest("source")}]),
            split="made up | by hand",
            license=made.license,
        )
        manifest = Manifest(
            harness_version="0.0.0",
            created="2001-02-03T04:05:06+00:00",
            command="bench run --frameworks " + ",".join(made.frameworks),
            experiment=experiment,
            skipped=made.skipped,
            datasets=dict.fromkeys(made.datasets, entry),
            initial_weights_sha256=digest("start") if "initial_weights" in made.training else None,
            cells=tuple(cell for group in groups for cell in group),
        )
        environment = {
            "cpu": "Made-up processor",
            "cpu_flags": ["avx2"],
            "memory_bytes": 8 * 2**30,
            "governor": None,
            "load_average": [0.5, 0.25, 0.125],
            "versions": {"numpy": "0.0.0"},
            "something_new": "kept",
        }
        folder = RunFolder.create(tmp_path / name, manifest, environment)
        if made.machine is not None:
            folder.write_machine(made.machine)
        for cell in manifest.cells:
            if (cell.framework, cell.seed) in set(made.missing):
                continue
            result, arrays = made.result(cell)
            if arrays is not None:
                folder.write_arrays(cell, arrays)
            folder.write_result(result)
        return folder

    return make

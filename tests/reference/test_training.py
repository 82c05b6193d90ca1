"""The reference trains as PyTorch does, and its images are those of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.data.schema import ImageDataset, Split
from harness.data.writer import write_dataset
from harness.parity.trace import make_plan
from harness.plugins import find_backend, find_model
from harness.protocol.weights import Weights
from harness.reference.images import augment, normalise
from harness.reference.training import Reference

SGD = Optimizer(learning_rate=0.02, weight_decay=1e-2)
ADAM = Optimizer(name="adam", learning_rate=1e-3, weight_decay=1e-2)
ADAMW = Optimizer(name="adamw", learning_rate=1e-3, weight_decay=0.1)


@dataclass(frozen=True)
class Case:
    model: str
    shape: tuple[int, int, int]
    multilabel: bool = False
    optimizer: Optimizer = SGD
    batch_size: int = 5

    def __str__(self) -> str:
        return f"{self.model}-{self.optimizer.name}-{'x'.join(map(str, self.shape))}"


CASES = [
    Case("lenet5", (3, 20, 16)),
    Case("lenet5", (1, 17, 23), True, ADAM),
    Case("lenet5-relu", (1, 12, 18), False, ADAMW),
    Case("xraynet", (1, 24, 40), True),
    Case("xraynet", (3, 19, 16), False, ADAM),
    Case("resnet18", (3, 8, 13), True, SGD, 3),
    Case("resnet18", (1, 66, 33), False, SGD, 2),
    Case("densenet121", (1, 64, 40), True, Optimizer(learning_rate=1e-3), 4),
]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    folder = tmp_path_factory.mktemp("reference")

    def write(case: Case) -> Path:
        rng = np.random.default_rng(3)
        classes = 3 if case.multilabel else 5

        def split(size: int) -> Split:
            pixels = rng.integers(0, 256, (size, *case.shape), dtype=np.uint8)
            shape = (size, classes) if case.multilabel else (size,)
            labels = rng.integers(0, 2 if case.multilabel else classes, shape)
            return Split(pixels, labels.astype(np.uint8))

        return write_dataset(
            folder / f"{case}.h5",
            ImageDataset(
                name="random",
                task="multilabel" if case.multilabel else "multiclass",
                classes=tuple("abcde"[:classes]),
                splits={"train": split(24), "val": split(2), "test": split(7)},
            ),
        )

    return write


def deviation(found: Weights, expected: Weights) -> float:
    """Relative to the largest magnitude of each array."""
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name] - array).max() / np.abs(array).max())
        for name, array in expected.items()
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_computes_what_pytorch_computes(write: Callable[[Case], Path], case: Case) -> None:
    torch = pytest.importorskip("torch")
    from harness.backends.torch.train import TorchBackend

    plan = make_plan(
        case.model,
        write(case),
        data_dir=Path(),
        optimizer=case.optimizer,
        batch_size=case.batch_size,
        steps=2,
        threads=1,
        positive_weights=(3.0, 1.0, 0.5) if case.multilabel else (),
    )
    task = plan.job("float64")
    network = find_backend("torch").find_network(find_model(case.model))
    threads = torch.get_num_threads()
    theirs, ours = TorchBackend(replace(task, network=network)), Reference(task)
    for backend in (theirs, ours):
        backend.load_weights(plan.weights)
    expected, found = (b.loss_and_gradients(plan.batches[0]) for b in (theirs, ours))
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    assert found[1] == pytest.approx(expected[1], rel=1e-12)
    assert deviation(found[2], expected[2]) < 1e-9
    losses = [b.train_epoch(plan.batches, plan.rates) for b in (theirs, ours)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    moved = [
        b.train_epoch(plan.batches[:1], plan.rates[:1], plan.augmentation) for b in (theirs, ours)
    ]
    assert moved[1] == pytest.approx(moved[0], rel=1e-9)
    # Adam divides by the square root of tiny squares, which costs digits.
    assert deviation(ours.save_weights(), theirs.save_weights()) < 1e-8
    assert ours.predict("test") == pytest.approx(theirs.predict("test"), rel=1e-7, abs=1e-9)
    rows = np.array([0, 3])
    maps = [b.activation_maps("test", rows, np.array([1, 2])) for b in (theirs, ours)]
    assert maps[1] == pytest.approx(maps[0], rel=1e-7, abs=1e-9)
    torch.set_num_threads(threads)


def test_looking_changes_nothing(write: Callable[[Case], Path]) -> None:
    case = CASES[3]
    task = TrainingJob(
        model=case.model, dataset=write(case), optimizer=SGD, precision="float32", threads=1
    )
    reference = Reference(task)
    plan = make_plan(
        case.model, write(case), data_dir=Path(), optimizer=SGD, batch_size=5, steps=1, threads=1
    )
    reference.load_weights(plan.weights)
    logits, loss, gradients = reference.loss_and_gradients(plan.batches[0])
    assert logits.dtype == np.float32
    assert all(array.dtype == np.float32 for array in gradients.values())
    assert np.isfinite(loss)
    reference.predict("val")
    after = reference.save_weights()
    assert all(np.array_equal(after[name], array) for name, array in plan.weights.items())
    assert all(array.dtype == np.float32 for array in after.values())


def test_pixels_are_normalised_by_channel() -> None:
    images = np.array([[[[0, 255]], [[51, 102]]]], np.uint8)
    found = normalise(images, np.array([0.5, 0.2]), np.array([0.5, 0.1]))
    assert found == pytest.approx(np.array([[[[-1, 1]], [[0, 2]]]]))


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ((0, 0, 0), [[1, 2, 3], [4, 5, 6]]),
        ((1, 0, 0), [[3, 2, 1], [6, 5, 4]]),
        ((0, 1, 0), [[0, 0, 0], [1, 2, 3]]),
        ((0, -1, 0), [[4, 5, 6], [0, 0, 0]]),
        ((0, 0, 2), [[0, 0, 1], [0, 0, 4]]),
        ((1, 0, -1), [[2, 1, 0], [5, 4, 0]]),
        ((0, 5, 0), [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_images_are_mirrored_then_shifted(move: tuple[int, int, int], expected: list) -> None:
    image = np.array([[[[1, 2, 3], [4, 5, 6]]]], np.uint8)
    assert augment(image, np.array([move])).tolist() == [[expected]]

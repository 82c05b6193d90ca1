"""Faults planted in real backends: ``bench parity`` catches each and names it.

The planted code shares nothing with the code that names: ``harness.reference.faults`` plants its
faults in NumPy, these are planted in PyTorch, in JAX and in Julia.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.data.schema import ImageDataset, Split
from harness.data.writer import write_dataset
from harness.parity.deviations import by_name, evaluate
from harness.parity.diagnosis import OF_TIES, Diagnosis, Suspects, _groups, diagnose
from harness.parity.trace import (
    ProofPlan,
    Remote,
    Trace,
    compute,
    follow,
    make_plan,
    started,
    trace_reference,
)
from harness.plugins import find_backend
from harness.reference.faults.catalogue import Fault as KnownFault
from harness.reference.faults.training import FaultyReference

HERE = Path(__file__).parent
SGD = Optimizer(learning_rate=0.05, weight_decay=1e-3)
ADAM = Optimizer(name="adam", learning_rate=1e-3)
ADAM_WITH_DECAY = Optimizer(name="adam", learning_rate=1e-3, weight_decay=0.1)
ADAMW = Optimizer(name="adamw", learning_rate=1e-2, weight_decay=0.1)
NAMED = 0.9
"""At least this share of the faults is named."""


@dataclass(frozen=True)
class Fault:
    framework: str
    name: str
    """Of its class, or of its change."""
    words: str
    """What the diagnosis begins with."""
    model: str = "lenet5"
    optimizer: Optimizer = SGD
    trajectory: bool = False
    """Whether it shows only in the trajectory, in predictions or in inference."""
    steps: int = 3

    def __str__(self) -> str:
        return f"{self.framework}-{self.name}"


@dataclass(frozen=True, kw_only=True)
class FaultyJob(TrainingJob):
    """Crosses to a worker with the name of the fault to plant."""

    fault: str


FAULTS = [
    Fault("torch", "FlippedSecondKernel", "conv2: kernel flipped (convolution where"),
    Fault("torch", "SamePadding", 'every convolution: padding as "SAME" has it', "resnet18"),
    Fault("torch", "DeviationForgotten", "pixels: not divided by the standard deviation"),
    Fault("torch", "MaxPooling", "every pooling: max pooling where the average belongs"),
    Fault("torch", "ChannelsLast", "flattening after conv2: in the order height, width, channel"),
    Fault("torch", "DropoutLeftIn", "random: two calls with the same batch differ"),
    Fault("torch", "SummedLoss", "loss: summed over the batch"),
    Fault("torch", "SmoothedLabels", "loss: labels smoothed by 0.1"),
    Fault("torch", "FrozenBias", "conv1.bias: gradient: missing"),
    Fault("torch", "Nesterov", "update rule: Nesterov's momentum"),
    Fault("torch", "RateOneStepLate", "learning rate: of the step before"),
    Fault("torch", "RateTooHigh", "learning rate: 1.5 times what it should be"),
    Fault("torch", "ShiftedTheOtherWay", "augmentation: shifted the other way"),
    Fault("torch", "LargeEpsilon", "every batch normalisation: epsilon 1e-3", "xraynet"),
    Fault("torch", "MomentumSwapped", "every batch normalisation: running statistics keep 0.1",
          "xraynet"),
    Fault("torch", "NeverInTraining", "every batch normalisation: running statistics in training",
          "xraynet"),
    Fault("torch", "BiasedVariance", "every batch normalisation: running variance from the biased",
          "xraynet"),
    Fault("torch", "SummedOverLabels", "loss: summed over the labels", "xraynet"),
    Fault("torch", "PredictsInTraining", "prediction: in training mode", "xraynet",
          trajectory=True),
    Fault("torch", "MomentumLost", "update rule: its state is forgotten at the start of each "
          "epoch", trajectory=True),
    Fault("torch", "StaleOrder", "batch order: that of the first epoch", trajectory=True),
    Fault("torch", "RatesOfTheFirstEpoch", "learning rates: those of the first epoch",
          trajectory=True),
    Fault("torch", "DropoutFromTheSecondEpoch", "epoch 2 losses, most at", trajectory=True),
    Fault("torch", "StopsAfter100Steps", "epoch: no update after its step 100", steps=103),
    Fault("torch", "LastLossSummed", "losses that an epoch", trajectory=True),
    Fault("torch", "EvaluationMovesStatistics", "prediction: moves the running statistics",
          "xraynet", trajectory=True),
    Fault("torch", "EvaluationModeStaysOn", "epoch: trained in evaluation mode once something was "
          "predicted", "xraynet", trajectory=True),
    Fault("torch", "LastBatchPermuted", "prediction: the last, partial batch is in reverse order",
          trajectory=True),
    Fault("torch", "SplitsOwnMean", "prediction: each split is normalised by its own mean",
          trajectory=True),
    Fault("torch", "CachedAnswer", "inference: the answer to the first images of a batch size",
          trajectory=True),
    Fault("torch", "HalfPrecisionGradients", "gradients rounded to half precision"),
    Fault("torch", "HalfPrecisionRates", "learning rate: rounded to half precision"),
    Fault("torch", "SlightlySmoothedLabels", "loss: labels smoothed by 0.001"),
    Fault("torch", "WidthFirst", "flattening after conv2: in the order channel, width, height"),
    Fault("torch", "DecayNotInSecondMoment", "update rule: weight decay missing in the second "
          "moment", optimizer=ADAM_WITH_DECAY),
    Fault("jax", "KernelsMirrored", "every convolution: kernel flipped"),
    Fault("jax", "Dense2WithoutActivation", "activation after dense2: missing"),
    Fault("jax", "ReluForTanh", "every activation: ReLU in its place"),
    Fault("jax", "PixelsUpTo255", "pixels: not divided by 255"),
    Fault("jax", "LabelsFromOne", "labels: shifted by one class upwards"),
    Fault("jax", "RateInVelocity", "update rule: learning rate folded into the velocity",
          optimizer=Optimizer(learning_rate=0.05)),
    Fault("jax", "EpsilonInsideTheRoot", "update rule: epsilon inside the square root",
          optimizer=ADAM),
    Fault("jax", "CoupledDecay", "update rule: weight decay in the gradient, where it belongs "
          "beside it", optimizer=ADAMW),
    Fault("jax", "FileOrder", "batch order: ignored"),
    Fault("jax", "SinglePrecision", "as far off as single precision is: computed in it"),
    Fault("jax", "SamePooling", "every pooling: last odd row and column kept", "xraynet"),
    Fault("jax", "DetachedStatistics", "every batch normalisation: no gradient through mean",
          "xraynet"),
    Fault("jax", "FlaxBatchNorm", "every batch normalisation: running statistics keep 0.99 and "
          "take the biased", "xraynet"),
    Fault("torch", "InfersInTraining", "prediction and inference: in training mode", "xraynet",
          trajectory=True),
    Fault("jax", "MomentumLost", "update rule: its state is forgotten at the start of each epoch",
          trajectory=True),
    Fault("jax", "CachedAnswer", "inference: the answer to the first images of a batch size",
          trajectory=True),
    Fault("julia", "MomentumLost", "update rule: its state is forgotten at the start of each "
          "epoch", trajectory=True),
    Fault("julia", "RatesOfTheFirstEpoch", "learning rates: those of the first epoch",
          trajectory=True),
    Fault("julia", "KernelsMirrored", "every convolution: kernel flipped"),
    Fault("julia", "RateInVelocity", "update rule: learning rate folded into the velocity"),
    Fault("julia", "EpsilonInsideTheRoot", "update rule: epsilon inside the square root",
          optimizer=ADAM),
    Fault("julia", "NoBiasCorrection", "update rule: no bias correction", optimizer=ADAM),
    Fault("julia", "IndicesFromZero", "data: indices one too low (in training alone)"),
    Fault("julia", "MirroredTopToBottom", "augmentation: mirrored top to bottom"),
    Fault("julia", "BiasedVariance", "every batch normalisation: running variance from the biased",
          "xraynet"),
    Fault("julia", "SummedOverLabels", "loss: summed over the labels", "xraynet"),
]  # fmt: skip

SHAPES = {"lenet5": (2, 20, 16), "xraynet": (1, 24, 40), "resnet18": (1, 8, 8)}
"""Small, and no side as long as the other where that is possible."""
TRAIN = {"lenet5": 300, "xraynet": 100, "resnet18": 100}
"""Training images; 300 are predicted in two batches, the last of which is not full."""


@pytest.fixture(scope="module")
def found(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Fault], Diagnosis | None]]:
    """``found(fault)``: the diagnosis of a backend with that fault; one process a framework."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", str(HERE))
        # Thirty small networks: it would take longer to optimise their code than to run it.
        patch.setenv(
            "XLA_FLAGS",
            "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        )
        yield Bench(tmp_path_factory.mktemp("faults"), stack).diagnosis


class Bench:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.plan = cache(self._plan)
        self.reference = cache(self._reference)
        self.worker = cache(self._worker)
        self.diagnosis = cache(self._diagnosis)

    def _diagnosis(self, fault: Fault) -> Diagnosis | None:
        if (reason := find_backend(fault.framework).missing()) is not None:
            pytest.skip(f"{fault.framework} {reason}")
        plan = self.plan(fault.model, fault.optimizer, fault.steps)
        if not fault.trajectory:
            # Whole splits are another batch size, for which JAX would compile once more.
            plan = replace(plan, epochs=(), examples={}, inference=())
        reference = self.reference(fault.model, fault.optimizer, fault.steps)
        kept = {stage: reference.stages[stage] for stage in plan.stages}
        reference = replace(reference, stages=kept)
        wrong = self.trace(fault, plan)
        comparison = evaluate(str(fault), fault.model, "float64", wrong, reference)
        return diagnose(comparison, wrong, reference, plan)

    def trace(self, fault: Fault, plan: ProofPlan) -> Trace:
        worker = self.worker(fault.framework)
        job = FaultyJob(**vars(plan.job("float64")), fault=fault.name)
        worker.build(job, plan.weights)
        return follow(Remote(worker), plan)

    def ready(self) -> list[str]:
        names = ("torch", "jax", "julia")
        return [name for name in names if find_backend(name).missing() is None]

    def _worker(self, framework: str):
        spec = replace(find_backend(framework), factory=f"planted_{framework}:Planted")
        return self.stack.enter_context(started(spec, 1))

    def _plan(self, model: str, optimizer: Optimizer, steps: int = 3) -> ProofPlan:
        return make_plan(
            model, str(self.dataset(model)), data_dir=self.folder, optimizer=optimizer,
            batch_size=4 if model == "resnet18" else 8, steps=1 if model == "resnet18" else steps,
            threads=1,
        )  # fmt: skip

    def _reference(self, model: str, optimizer: Optimizer, steps: int = 3) -> Trace:
        return trace_reference(self.plan(model, optimizer, steps))

    def dataset(self, model: str) -> Path:
        path = self.folder / f"{model}.h5"
        if path.exists():
            return path
        rng = np.random.default_rng(3)
        multilabel = model == "xraynet"

        def split(size: int) -> Split:
            pixels = rng.integers(0, 256, (size, *SHAPES[model]), dtype=np.uint8)
            labels = rng.integers(0, 2 if multilabel else 5, (size, 3) if multilabel else size)
            return Split(pixels, labels.astype(np.uint8))

        return write_dataset(
            path,
            ImageDataset(
                name=model,
                task="multilabel" if multilabel else "multiclass",
                classes=("a", "b", "c", "d", "e")[: 3 if multilabel else 5],
                splits={"train": split(TRAIN[model]), "val": split(5), "test": split(9)},
            ),
        )


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_planted_fault_is_caught_and_named(found: Callable, fault: Fault) -> None:
    diagnosis = found(fault)
    assert diagnosis is not None, "parity did not see it"
    assert str(diagnosis).startswith(fault.words)
    assert diagnosis.still is None


@pytest.mark.parametrize("model", ["lenet5", "xraynet"])
def test_without_a_fault_nothing_deviates(found: Callable, model: str) -> None:
    """Neither the reference where faults are planted, nor what faults are planted in."""
    bench = found.__wrapped__.__self__
    plan, reference = bench.plan(model, SGD), bench.reference(model, SGD)
    for same in (
        follow(FaultyReference(plan.job("float64")), plan),
        *(bench.trace(Fault(framework, "Sound", ""), plan) for framework in bench.ready()),
    ):
        assert not evaluate("same", model, "float64", same, reference).beyond


def test_most_faults_are_named(found: Callable) -> None:
    here = [fault for fault in FAULTS if find_backend(fault.framework).missing() is None]
    if not here:
        pytest.skip("no framework can run here")
    named_as = {str(fault): found(fault) for fault in here}
    missed = [name for name, diagnosis in named_as.items() if diagnosis is None]
    named = [f for f in here if named_as[str(f)] and str(named_as[str(f)]).startswith(f.words)]
    assert not missed
    assert len(named) >= NAMED * len(here)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Unheard", r"loss: none of \d{3} known faults reproduces it"),
        ("UnheardGradient", r"gradient of dense2.weight: none of \d{3} known faults repro.*"),
    ],
)
def test_what_no_known_fault_explains_is_reported_by_where_it_shows(
    found: Callable, name: str, words: str
) -> None:
    assert re.fullmatch(words, str(found(Fault("torch", name, words))))


def test_a_search_that_ran_out_of_time_says_so(found: Callable, monkeypatch) -> None:
    monkeypatch.setattr("harness.parity.diagnosis.Suspects", partial(Suspects, seconds=0.0))
    bench = found.__wrapped__.__self__
    words = r"loss: none of the 0 known faults that could be tried in 0 s reproduces it"
    assert re.fullmatch(words, str(bench._diagnosis(Fault("torch", "Unheard", ""))))


def test_near_ties_are_looked_for_first_where_a_deviation_begins_late(found: Callable) -> None:
    """As max pooling of NNlib.jl does, where the tenth batch is the first with such a window."""
    bench = found.__wrapped__.__self__
    plan, stages = bench.plan("xraynet", SGD), bench.reference("xraynet", SGD).stages
    groups = _groups(Suspects(plan), "step 3", stages, stages, plan)
    assert [fault.kind for fault in next(groups)] == [OF_TIES]


def test_of_two_faults_the_first_is_named_and_the_other_told(found: Callable) -> None:
    diagnosis = found(Fault("torch", "TwoAtOnce", ""))
    assert str(diagnosis).startswith("loss: summed over the batch")
    assert str(diagnosis).endswith("; and more is wrong, as this does not explain step 2")


def test_a_stage_is_the_same_with_whatever_stage_it_is_computed(found: Callable) -> None:
    bench = found.__wrapped__.__self__
    plan, reference = bench.plan("lenet5", SGD, 12), bench.reference("lenet5", SGD, 12)
    assert plan.early > 3  # more losses than the first steps have
    subject = FaultyReference(plan.job("float64"))
    for asked in plan.stages:
        for stage, arrays in compute(subject, plan, asked).items():
            if stage in plan.stages:
                assert [d for d in by_name(stage, arrays, reference.stages[stage]) if d.value] == []


@pytest.mark.parametrize("kind", ["decay missing", "no momentum", "decay in the gradient"])
def test_a_fault_that_explains_everything_is_the_only_one(found: Callable, kind: str) -> None:
    bench = found.__wrapped__.__self__
    plan, reference = bench.plan("lenet5", SGD, 12), bench.reference("lenet5", SGD, 12)
    subject = FaultyReference(plan.job("float64"))
    subject.plant(KnownFault(kind))
    wrong = follow(subject, plan)
    diagnosis = diagnose(
        evaluate("it", "lenet5", "float64", wrong, reference), wrong, reference, plan
    )
    assert diagnosis is not None
    assert KnownFault(kind) in diagnosis.faults
    assert diagnosis.still is None


def test_the_planted_are_as_many_as_promised() -> None:
    assert len(FAULTS) >= 60
    assert {fault.framework for fault in FAULTS} == {"torch", "jax", "julia"}
    assert len({fault.words for fault in FAULTS}) >= 20

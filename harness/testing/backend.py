"""What every backend has to fulfil; see ``harness.backends.base`` for the contract."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.analysis.code import parts
from harness.backends.spec import BackendSpec
from harness.config import Optimizer
from harness.execution.inputs import images_digest
from harness.execution.worker import Worker
from harness.files import file_sha256
from harness.measure.warmup import InferenceBudget
from harness.parity.trace import ProofPlan, started
from harness.plugins import find_backend, find_model
from harness.protocol.augmentation import epoch_augmentation
from harness.protocol.received import Received
from harness.protocol.weights import Weights
from harness.testing.datasets import CLASSES, SIZES, shape_for
from harness.testing.reference import expected, plan_for
from harness.testing.subject import (
    Subject,
    check_maps,
    check_parity,
    check_saved_training,
    check_update_rule,
    chosen,
    highest_precision,
    supported_models,
)

SGD = Optimizer(learning_rate=0.02, momentum=0.9, weight_decay=1e-2)
ADAM = Optimizer(name="adam", learning_rate=1e-3, weight_decay=1e-2)
ADAMW = Optimizer(name="adamw", learning_rate=1e-3, weight_decay=0.5)
BUDGET = InferenceBudget(warm_up_s=0, least=3, most=3, seconds=0)
UNFINISHED = 0.25
"""Share of the seconds of a training that reading the weights afterwards may wait for it."""


class BackendConformance:
    """Tests of a backend; a subclass whose name begins with ``Test`` names it.

    Fixtures: ``subject``, the backend in a process that all tests share, which therefore builds
    several networks, one after another; ``plan``, weights and batches of a small training;
    ``worker``, the process with the network of the plan and its weights.
    """

    backend: str = ""
    """Name of the backend; empty: those of the option ``--backend``."""
    models: tuple[str, ...] = ()
    """Models to test with; empty: those of ``--model``, or all that it supports."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        names = [self.backend] if self.backend else chosen("backend", metafunc.config)
        if "model" not in metafunc.fixturenames:
            metafunc.parametrize("name", names, scope="class")
            return
        models = self.models or chosen("model", metafunc.config)
        pairs = [
            (name, model)
            for name in names
            for model in models or supported_models(find_backend(name))
        ]
        metafunc.parametrize(("name", "model"), pairs, scope="class")

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, name: str) -> BackendSpec:
        spec = find_backend(name)
        if (reason := spec.missing()) is not None:
            pytest.skip(f"{name} {reason}")
        return spec

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, spec: BackendSpec) -> Iterator[Subject]:
        with started(spec, threads=1) as worker:
            yield Subject(spec, worker)

    @pytest.fixture(scope="class")
    @classmethod
    def plan(cls, model: str) -> ProofPlan:
        return plan_for(model, SGD)

    @pytest.fixture
    def worker(self, subject: Subject, plan: ProofPlan) -> Worker:
        """The process of ``subject``, ready to train in the first precision that it supports."""
        return subject.build(plan, subject.spec.precisions[0])

    # --- what it says of itself -------------------------------------------------------------------

    def test_supports_a_model_and_a_precision(self, spec: BackendSpec) -> None:
        assert supported_models(spec), "it has a network for none of the models installed"
        assert set(spec.precisions) <= {"float32", "float64"}
        assert spec.precisions

    def test_refuses_what_it_does_not_support(self, spec: BackendSpec) -> None:
        card = find_model(supported_models(spec)[0])
        assert spec.unsupported(card, spec.precisions[0]) is None
        assert "float16" in str(spec.unsupported(card, "float16"))
        unknown = replace(card, name="unknown", package="harness.testing")
        assert "unknown" in str(spec.unsupported(unknown, spec.precisions[0]))

    def test_its_code_is_found_for_the_report(self, spec: BackendSpec) -> None:
        cards = [find_model(name) for name in supported_models(spec)]
        found = parts([spec], cards)
        assert all(part.lines(spec.family.name) for part in found)
        assert len(found) >= 3, "a model, training and data loading"

    def test_facts(self, worker: Worker, spec: BackendSpec, model: str) -> None:
        facts = worker.facts()
        assert all(isinstance(text, str) and text for text in facts.values())
        assert set(spec.family.versions) <= facts.keys(), "Family.versions names facts"
        assert "device" in facts or "gpu" not in spec.devices, "reports name the GPU"

    # --- weights and parity -----------------------------------------------------------------------

    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_weights_round_trip(self, subject: Subject, plan: ProofPlan, precision: str) -> None:
        supports(subject.spec, precision)
        echoed = subject.build_anew(plan, precision)
        assert echoed.keys() == plan.weights.keys()
        for name, array in plan.weights.items():
            assert echoed[name].dtype == precision, name
            np.testing.assert_array_equal(echoed[name], array, err_msg=name)

    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_agrees_with_the_reference(self, subject: Subject, model: str, precision: str) -> None:
        """Logits, loss, gradients, parameters after 1, 2, 3 and 10 steps, augmentation, a split."""
        supports(subject.spec, precision)
        follows_the_protocol(subject.spec)
        check_parity(subject, expected(model, SGD), precision)

    @pytest.mark.parametrize("optimizer", [ADAM, ADAMW], ids=["adam", "adamw"])
    def test_update_rules_agree_with_the_reference(
        self, subject: Subject, model: str, optimizer: Optimizer
    ) -> None:
        """Parameters after 10 steps; the test above compares those of SGD."""
        follows_the_protocol(subject.spec)
        check_update_rule(subject, model, optimizer)

    def test_several_labels_an_image_agree_with_the_reference(
        self, subject: Subject, model: str
    ) -> None:
        follows_the_protocol(subject.spec)
        check_parity(subject, expected(model, SGD, "multilabel"), highest_precision(subject.spec))

    def test_activation_maps_agree_with_the_reference(self, subject: Subject, model: str) -> None:
        follows_the_protocol(subject.spec)
        if subject.spec.lower_precision:
            pytest.skip(f"{subject.spec.name} computes {subject.spec.lower_precision}")
        check_maps(subject, model, SGD)

    def test_gradients_leave_the_weights_as_they_are(
        self, worker: Worker, plan: ProofPlan, model: str
    ) -> None:
        before = worker.save_weights()
        logits, loss, gradients = worker.loss_and_gradients(plan.batches[0])
        assert logits.shape == (len(plan.batches[0]), len(CLASSES))
        assert np.isfinite(loss)
        assert_same(worker.save_weights(), before)
        card = find_model(model)
        parameters = card.parameters(shape_for(card), len(CLASSES))
        assert gradients.keys() == {p.name for p in parameters if p.trainable}

    # --- training ---------------------------------------------------------------------------------

    def test_returns_the_loss_of_every_step(self, worker: Worker, plan: ProofPlan) -> None:
        _, losses = worker.train_epoch(plan.batches, plan.rates)
        assert losses.shape == (len(plan.batches),)
        assert losses.dtype == np.float64
        assert np.isfinite(losses).all()

    def test_receives_what_it_was_sent(self, worker: Worker, plan: ProofPlan) -> None:
        """The arrays arrive whole, and training does not write into them."""
        sent = Received()
        for augmentation in (None, draw_augmentation(plan)):
            worker.train_epoch(plan.batches, plan.rates, augmentation)
            sent.add(plan.batches, plan.rates, augmentation)
        assert worker.received() == sent.digests()

    def test_holds_the_images_of_the_file(self, worker: Worker, plan: ProofPlan) -> None:
        """Pixels and labels of every split, as SHA-256; empty where the backend cannot tell."""
        expected = images_digest(plan.dataset, file_sha256(plan.dataset))
        assert worker.images_digest() in ("", expected)

    def test_is_deterministic_on_one_thread(self, subject: Subject, plan: ProofPlan) -> None:
        """Two networks, built one after the other, are trained to the last bit alike."""
        first, again = (self.trained_anew(subject, plan) for _ in range(2))
        np.testing.assert_array_equal(first[0], again[0])
        assert_same(first[1], again[1])

    def trained_anew(
        self, subject: Subject, plan: ProofPlan
    ) -> tuple[NDArray[np.float64], Weights]:
        subject.build_anew(plan, subject.spec.precisions[0])
        return trained(subject.worker, plan)

    def test_loading_weights_forgets_the_state_of_the_optimizer(
        self, worker: Worker, plan: ProofPlan
    ) -> None:
        fresh = trained(worker, plan)
        worker.load_weights(plan.weights)
        assert_same(trained(worker, plan)[1], fresh[1])

    def test_a_saved_training_goes_on_to_the_last_bit_alike(
        self, subject: Subject, model: str
    ) -> None:
        check_saved_training(subject, model, SGD)

    # --- timing -----------------------------------------------------------------------------------

    def test_a_training_has_ended_when_its_call_returns(
        self, worker: Worker, plan: ProofPlan
    ) -> None:
        """Otherwise whoever asks for the weights next waits for the rest."""
        batches = np.resize(plan.batches, (20 * len(plan.batches), *plan.batches.shape[1:]))
        rates = np.full(len(batches), plan.rates[0] / 100)
        worker.train_epoch(batches, rates)  # whatever is compiled
        waits = []
        for _ in range(3):  # of several, the least disturbed by other processes
            seconds, _ = worker.train_epoch(batches, rates)
            busy, idle = (seconds_to_save(worker) for _ in range(2))
            waits.append((busy - idle) / seconds)
        assert min(waits) < UNFINISHED, f"it went on for {min(waits):.0%} of its time afterwards"

    def test_nothing_is_compiled_while_it_is_timed(
        self, spec: BackendSpec, plan: ProofPlan
    ) -> None:
        with started(spec, threads=1) as worker:
            worker.build(plan.job(spec.precisions[0]), plan.weights)
            warm_up(worker, plan, None)
            # From here on, a compilation in a timed region is an error.
            worker.forbid_compilation()
            for _ in range(2):
                worker.load_weights(plan.weights)
                worker.train_epoch(plan.batches, plan.rates)
                worker.predict("val")
                worker.predict("test")
            assert len(worker.infer("test", 3, BUDGET)) == 1 + BUDGET.most

    def test_a_warm_up_leaves_no_trace(self, worker: Worker, plan: ProofPlan) -> None:
        fresh = trained(worker, plan)
        warm_up(worker, plan, draw_augmentation(plan))
        worker.load_weights(plan.weights)
        assert_same(worker.save_weights(), cast(plan.weights, fresh[1]))
        assert_same(trained(worker, plan)[1], fresh[1])

    # --- prediction -------------------------------------------------------------------------------

    @pytest.mark.parametrize("split", SIZES)
    def test_predicts_every_image_of_a_split(
        self, worker: Worker, spec: BackendSpec, split: str
    ) -> None:
        """The last batch of the test split is smaller than those before it."""
        _, logits = worker.predict(split)
        assert logits.shape == (SIZES[split], len(CLASSES))
        assert logits.dtype == spec.precisions[0]

    @pytest.mark.parametrize("count", [1, 7])
    def test_inference_agrees_with_prediction(
        self, worker: Worker, spec: BackendSpec, count: int
    ) -> None:
        """In whatever batch an image is: of the last images of an uneven batch."""
        rows = np.arange(SIZES["test"] - count, SIZES["test"])
        _, logits = worker.predict("test")
        found = worker.inference_logits("test", rows)
        tolerance = 2**-5 if spec.lower_precision else 1e-5
        scale = float(np.abs(logits).max())
        np.testing.assert_allclose(found, logits[rows], rtol=0, atol=tolerance * scale)


def supports(spec: BackendSpec, precision: str) -> None:
    """Skip the test where the backend says that it has no such precision."""
    if precision not in spec.precisions:
        pytest.skip(f"{spec.name} has no precision {precision}")


def follows_the_protocol(spec: BackendSpec) -> None:
    """Skip the test where the backend says that it is not comparable."""
    if not spec.certified:
        pytest.skip(f"{spec.name} follows a protocol of its own: {spec.deviation}")


def draw_augmentation(plan: ProofPlan) -> NDArray[np.int64] | None:
    """Augmentation of the batches of the plan."""
    steps, batch_size = plan.batches.shape
    return epoch_augmentation(steps, batch_size, seed=0, epoch=0, flip=True, shift=2)


def trained(worker: Worker, plan: ProofPlan) -> tuple[NDArray[np.float64], Weights]:
    """Losses and weights after the steps of the plan."""
    _, losses = worker.train_epoch(plan.batches, plan.rates)
    return losses, worker.save_weights()


def warm_up(worker: Worker, plan: ProofPlan, augmentation: NDArray[np.int64] | None) -> None:
    """What a run does before it reads a clock."""
    steps = worker.prepare_training(plan.batches, augmentation)
    assert 1 <= steps <= len(plan.batches)
    some = None if augmentation is None else augmentation[:steps]
    for _ in range(2):
        worker.train_epoch(plan.batches[:steps], plan.rates[:steps], some)
    for split in ("val", "test"):
        worker.warm_up_prediction(split)


def seconds_to_save(worker: Worker) -> float:
    start = time.perf_counter()
    worker.save_weights()
    return time.perf_counter() - start


def assert_same(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def cast(weights: Weights, like: Weights) -> Weights:
    """``weights`` in the precision of ``like``."""
    return {name: array.astype(like[name].dtype) for name, array in weights.items()}

"""What every model has to fulfil: its card, and its network in every framework that has one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.backends.spec import BackendSpec
from harness.errors import BenchError
from harness.models.card import ModelCard
from harness.parity.trace import started
from harness.plugins import backends, find_backend, find_model
from harness.protocol.weights import initial_weights
from harness.testing.backend import SGD
from harness.testing.datasets import CLASSES, shape_for
from harness.testing.reference import expected
from harness.testing.subject import Subject, check_parity, chosen, highest_precision


class ModelConformance:
    """Tests of a model; a subclass whose name begins with ``Test`` names it."""

    model: str = ""
    """Name of the model; empty: those of the option ``--model``."""
    backends: tuple[str, ...] = ()
    """Backends to test its networks in; empty: all that have one, tuned variants left out."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        names = [self.model] if self.model else chosen("model", metafunc.config)
        if "backend" not in metafunc.fixturenames:
            metafunc.parametrize("name", names)
            return
        pairs = [
            (name, backend)
            for name in names
            for backend in self.backends or backends_with(find_model(name))
        ]
        metafunc.parametrize(("name", "backend"), pairs)

    @pytest.fixture
    def card(self, name: str) -> ModelCard:
        return find_model(name)

    @pytest.fixture
    def shape(self, card: ModelCard) -> tuple[int, int, int]:
        """(C, H, W) that the network can take."""
        return shape_for(card)

    def test_parameters_are_named_once_and_not_empty(
        self, card: ModelCard, shape: tuple[int, int, int]
    ) -> None:
        parameters = card.parameters(shape, len(CLASSES))
        names = [parameter.name for parameter in parameters]
        assert names
        assert len(set(names)) == len(names)
        assert all(parameter.size > 0 for parameter in parameters)
        assert 0 < card.trainable_size(shape, len(CLASSES)) <= sum(p.size for p in parameters)

    def test_head_has_an_output_for_each_class_and_stem_sees_the_image(
        self, card: ModelCard, shape: tuple[int, int, int]
    ) -> None:
        for classes in (2, len(CLASSES)):
            shapes = {p.name: p.shape for p in card.parameters(shape, classes)}
            assert shapes[f"{card.head}.weight"][0] == classes
            assert math.prod(shapes[f"{card.stem}.weight"][1:]) % shape[0] == 0
            assert card.layers(shape, classes)[-1].output_shape == (classes,)

    def test_operations_are_counted(self, card: ModelCard, shape: tuple[int, int, int]) -> None:
        """At least one multiplication for each weight of a convolution or a dense layer."""
        layers = card.layers(shape, len(CLASSES))
        weights = sum(p.size for p in card.parameters(shape, len(CLASSES)) if len(p.shape) > 1)
        assert all(layer.name and layer.operation and layer.macs >= 0 for layer in layers)
        assert sum(layer.macs for layer in layers) >= weights > 0
        assert layers[0].macs > 0, "the first layer is the one without a gradient of its input"
        forward, training = (
            count(shape, len(CLASSES)) for count in (card.forward_flops, card.training_flops)
        )
        assert 2 * forward < training < 3 * forward

    def test_initial_weights_are_drawn_for_every_parameter(
        self, card: ModelCard, shape: tuple[int, int, int]
    ) -> None:
        parameters = card.parameters(shape, len(CLASSES))
        one, again, other = (initial_weights(parameters, seed) for seed in (0, 0, 1))
        assert [array.shape for array in one.values()] == [p.shape for p in parameters]
        assert all(np.array_equal(one[name], again[name]) for name in one)
        assert any(not np.array_equal(one[name], other[name]) for name in one)

    def test_images_that_are_too_small_are_refused_in_words(self, card: ModelCard) -> None:
        try:
            card.parameters((1, 1, 1), len(CLASSES))
        except BenchError as error:
            message = str(error)
        else:
            pytest.skip(f"{card.name} takes images of one pixel")
        assert "1x1" in message

    def test_other_shapes_change_parameters_only_as_they_must(self, card: ModelCard) -> None:
        """The names of the parameters do not depend on the number of channels or classes."""
        channels, height, width = shape_for(card)
        names = [p.name for p in card.parameters((channels, height, width), len(CLASSES))]
        assert [p.name for p in card.parameters((channels + 1, height, width), 2)] == names

    def test_the_package_is_importable(self, card: ModelCard) -> None:
        assert card.folder.is_dir()

    def test_a_framework_has_the_network(self, card: ModelCard) -> None:
        assert self.backends or backends_with(card), f"no backend finds a network in {card.package}"

    def test_network_agrees_with_the_reference(self, name: str, backend: str) -> None:
        """Weights are read back as they were loaded, and everything computed agrees."""
        spec = find_backend(backend)
        if (reason := spec.missing()) is not None:
            pytest.skip(f"{backend} {reason}")
        wanted = expected(name, SGD)
        precision = highest_precision(spec)
        with started(spec, threads=1) as worker:
            subject = Subject(spec, worker)
            echoed = subject.build_anew(wanted.plan, precision)
            assert echoed.keys() == wanted.plan.weights.keys()
            for parameter, array in wanted.plan.weights.items():
                np.testing.assert_array_equal(echoed[parameter], array, err_msg=parameter)
            check_parity(subject, wanted, precision)


def backends_with(card: ModelCard) -> list[str]:
    """Names of the backends that have a network for ``card``: of each framework the plain one."""

    def is_tested(spec: BackendSpec) -> bool:
        return spec.role in ("plain", "bound") and spec.find_network(card) is not None

    return [name for name, spec in backends().items() if is_tested(spec)]

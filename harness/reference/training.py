"""Training and prediction under the protocol, as every backend does them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Backend, TrainingJob, evaluation_batches
from harness.data.reader import DatasetFile, SplitReader, open_dataset
from harness.plugins import find_model
from harness.protocol.optimizer import SLOTS, OptimizerState
from harness.protocol.weights import Weights
from harness.reference.images import augment, normalise
from harness.reference.losses import binary_cross_entropy, one_hot, softmax_cross_entropy
from harness.reference.network import Layers, find_network
from harness.reference.operations import relu
from harness.reference.optimizers import UpdateRule
from harness.reference.tape import Array, Variable, backward


class Reference(Backend):
    """A network in NumPy, in the job's precision: the reference that frameworks are compared with.

    Args:
        job: as for every backend; ``threads`` is ignored, NumPy uses those that it has.
        data: the job's data set, where it is open already.
    """

    def __init__(self, job: TrainingJob, data: DatasetFile | None = None) -> None:
        self.job = job
        self.dtype = np.dtype(job.precision)
        self.data = data or open_dataset(job.dataset)
        self.splits: dict[str, SplitReader] = {}
        self.mean = np.asarray(self.data.mean, self.dtype)
        self.std = np.asarray(self.data.std, self.dtype)
        self.card = find_model(job.model)
        self.network = find_network(self.card)
        parameters = self.card.parameters(self.data.image_shape, self.data.outputs)
        self.trained = [parameter.name for parameter in parameters if parameter.trainable]
        self.weights: Weights = {}
        self.rule = self.make_rule()

    def make_rule(self) -> UpdateRule:
        return UpdateRule(self.job.optimizer)

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        self.weights = {name: np.array(array, self.dtype) for name, array in weights.items()}
        self.rule = self.make_rule()

    def save_weights(self) -> Weights:
        return {name: array.copy() for name, array in self.weights.items()}

    def save_optimizer(self) -> OptimizerState:
        """For comparison with what frameworks keep: their names, in the order of ``SLOTS``."""
        held = (self.rule.first, self.rule.second)
        slots = {
            slot: {name: arrays[name].copy() for name in self.trained}
            for slot, arrays in zip(SLOTS[self.job.optimizer.name], held, strict=False)
        }
        return OptimizerState(slots, self.rule.steps * (self.job.optimizer.name != "sgd"))

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        losses = np.zeros(len(order))
        for step, batch in enumerate(order):
            images, labels = self.batch(batch)
            if augmentation is not None:
                images = self.augment(images, augmentation[step])
            losses[step] = self.step(images, labels, float(rates[step]))
        return losses

    def step(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], rate: float) -> float:
        """One update; the loss before it."""
        loss, gradients = self.differentiate(images, labels)
        self.rule.step(self.weights, gradients, rate)
        return loss

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        images, labels = self.batch(batch)
        logits = self.logits(images)
        weights = self.save_weights()
        loss, gradients = self.differentiate(images, labels)
        self.weights = weights  # without the change of the running statistics
        return logits, loss, gradients

    def predict(self, split: str) -> NDArray[np.floating]:
        images = self.split(split).images
        batches = evaluation_batches(len(self.split(split)))
        return np.concatenate([self.logits(images(batch)) for batch in batches])

    def predict_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]:
        """Logits (B, classes) of ``examples`` (B,) of a split."""
        images = self.split(split).images
        batches = evaluation_batches(len(examples))
        return np.concatenate([self.logits(images(examples[batch])) for batch in batches])

    def infer_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]:
        """What :meth:`infer` answers to ``examples`` (B,) of a split."""
        return self.infer(self.split(split).images(examples))

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return self.logits(images)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        """(B, classes) in evaluation."""
        return self.forward(images, self.layers(training=False)).value

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        layers = self.layers(training=False)
        x = Variable(self.normalise(self.split(split).images(rows)))
        maps = Variable(self.network.features(layers, x).value, differentiable=True)
        logits = self.network.classify(layers, maps)
        chosen = one_hot(outputs, logits.shape[1], self.dtype)
        # A sum over the images has for each the gradient of its own logit.
        backward(
            Variable(np.asarray((logits.value * chosen).sum()), [(logits, lambda g: g * chosen)])
        )
        assert maps.gradient is not None
        weights = maps.gradient.mean(axis=(2, 3), keepdims=True)
        return relu(Variable((weights * maps.value).sum(axis=1))).value

    def facts(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def differentiate(
        self, images: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[float, Weights]:
        """Loss in training, and its gradient by parameter; running statistics move on."""
        layers = self.layers(training=True)
        loss = self.loss(self.forward(images, layers), labels)
        backward(loss)
        gradients = {name: layers.parameters[name].gradient for name in self.trained}
        return float(loss.value), {n: np.asarray(g) for n, g in gradients.items() if g is not None}

    def layers(self, *, training: bool) -> Layers:
        parameters = {
            name: Variable(self.weights[name], differentiable=training) for name in self.trained
        }
        running = {n: array for n, array in self.weights.items() if n not in parameters}
        return Layers(self.card, parameters, running, training)

    def forward(self, images: NDArray[np.uint8], layers: Layers) -> Variable:
        """Logits (N, classes)."""
        return self.network(layers, Variable(self.normalise(images)))

    def loss(self, logits: Variable, labels: NDArray[np.uint8]) -> Variable:
        targets = self.targets(labels)
        if self.data.task == "multiclass":
            return softmax_cross_entropy(logits, targets)
        return binary_cross_entropy(logits, targets, self.positive_weights)

    def targets(self, labels: NDArray[np.uint8]) -> Array:
        """(N, classes)"""
        if self.data.task == "multiclass":
            return one_hot(labels, self.data.outputs, self.dtype)
        return labels.astype(self.dtype)

    @property
    def positive_weights(self) -> Array | None:
        weights = self.job.positive_weights
        return np.array(weights, self.dtype) if weights else None

    def normalise(self, images: NDArray[np.uint8]) -> Array:
        return normalise(images, self.mean, self.std)

    def augment(
        self, images: NDArray[np.uint8], parameters: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        return augment(images, parameters)

    def batch(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images and labels of training examples."""
        train = self.split("train")
        return train.images(rows), train.labels[rows]

    def split(self, name: str) -> SplitReader:
        if name not in self.splits:
            self.splits[name] = self.data.split(name)
        return self.splits[name]

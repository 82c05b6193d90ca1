"""The reference with a fault in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import EVALUATION_BATCH, TrainingJob, evaluation_batches
from harness.data.reader import DatasetFile
from harness.protocol.weights import Weights
from harness.reference.faults.catalogue import KINDS, SITED, Fault
from harness.reference.faults.inputs import (
    AUGMENTATION,
    AUGMENTED,
    LABELS,
    ORDER,
    PIXELS,
    RATES,
    ROWS,
)
from harness.reference.faults.layers import HEAD, replacement
from harness.reference.faults.losses import LOSSES, Batch, reported, smoothed
from harness.reference.faults.updates import FaultyRule
from harness.reference.images import normalise
from harness.reference.network import Layers, Operation
from harness.reference.optimizers import UpdateRule
from harness.reference.tape import Array, Variable
from harness.reference.training import Reference

NONE = Fault("")
PREDICTED_IN_TRAINING = ("predicted in training", "predicted and inferred in training")
INFERRED_IN_TRAINING = ("inference in training", "predicted and inferred in training")


class FaultyReference(Reference):
    """The reference with the fault that :meth:`plant` puts in; without one, what it is itself."""

    def __init__(self, job: TrainingJob, data: DatasetFile | None = None) -> None:
        self.fault = NONE
        self.operation = ""
        self.logits_alone = False
        self.inside: Array | None = None
        self.first_epoch: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
        self.steps_of_epoch = 0
        self.predicted = False
        self.answers: dict[int, NDArray[np.floating]] = {}
        self.own_mean: Array | None = None
        super().__init__(job, data)

    def plant(self, fault: Fault | None, *, logits_alone: bool = False) -> None:
        """Put ``fault`` in the place of the one before; the state of the update rule is reset.

        With ``logits_alone``, :meth:`loss_and_gradients` computes the logits only.
        """
        self.fault = fault or NONE
        self.operation = KINDS[self.fault.kind].operation if fault else ""
        self.logits_alone = logits_alone
        self.rule = self.make_rule()

    def sites(self) -> dict[str, tuple[str, ...]]:
        """By kind of operation the layers at which, or after which, it is."""
        layers = self.layers(training=False)
        self.forward(self.split("train").images(np.arange(2)), layers)
        return {kind: tuple(names) for kind, names in layers.sites.items()}

    def make_rule(self) -> UpdateRule:
        if self.operation == "update":
            return FaultyRule(self.job.optimizer, self.fault)
        return super().make_rule()

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        rule = self.rule
        super().load_weights(weights)
        self.first_epoch, self.predicted, self.answers = None, False, {}
        if self.fault.kind == "velocity kept":
            self.rule = rule

    # --- Forward pass and loss --------------------------------------------------------------------

    def layers(self, *, training: bool) -> Layers:
        kind = self.fault.kind
        evaluation = kind == "trained in evaluation" or (
            kind == "evaluation mode stays on" and self.predicted
        )
        layers = super().layers(training=training)
        layers.training = training and not evaluation
        if self.operation in SITED:
            layers.replace = self.replaced
        return layers

    def replaced(self, kind: str, site: str, function: Operation) -> Operation:
        if kind != self.operation or (self.fault.layers and site not in self.fault.layers):
            return function
        return replacement(kind, self.fault.kind, self.fault.amount, function)

    def normalise(self, images: NDArray[np.uint8]) -> Array:
        if self.operation == "pixels":
            mean, std = self.mean[:, None, None], self.std[:, None, None]
            x = np.asarray(PIXELS[self.fault.kind](images.astype(self.dtype), mean, std))
        elif self.own_mean is not None:
            x = normalise(images, self.own_mean, self.std)
        else:
            x = super().normalise(images)
        return x if self.inside is None else x * self.inside

    def forward(self, images: NDArray[np.uint8], layers: Layers) -> Variable:
        logits = super().forward(images, layers)
        return HEAD[self.fault.kind](logits) if self.operation == "head" else logits

    def differentiate(
        self, images: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[float, Weights]:
        if self.operation == "labels":
            labels = LABELS[self.fault.kind](labels, self.data.outputs)
        loss, gradients = super().differentiate(images, labels)
        if self.fault.kind == "decay in the loss":
            decay = self.job.optimizer.weight_decay
            loss += decay / 2 * sum(float((self.weights[n] ** 2).sum()) for n in gradients)
            return loss, {n: g + decay * self.weights[n] for n, g in gradients.items()}
        return loss, self.spoiled(gradients) if self.operation == "gradients" else gradients

    def loss(self, logits: Variable, labels: NDArray[np.uint8]) -> Variable:
        kind, amount = self.fault.kind, self.fault.amount
        if kind in LOSSES:
            multilabel = self.data.task == "multilabel"
            batch = Batch(logits, self.targets(labels), multilabel, self.positive_weights)
            return LOSSES[kind](batch)
        if kind == "label smoothing fitted":
            multilabel = self.data.task == "multilabel"
            batch = Batch(logits, self.targets(labels), multilabel, self.positive_weights)
            return smoothed(batch, amount)
        loss = super().loss(logits, labels)
        if kind == "loss scaled":
            return loss * amount
        return reported(loss, amount) if kind == "loss reported" else loss

    def spoiled(self, gradients: Weights) -> Weights:
        kind, amount, chosen = self.fault.kind, self.fault.amount, self.fault.layers or gradients
        if kind == "gradients missing":
            return {n: g for n, g in gradients.items() if n not in chosen}
        if kind == "gradients of zero":
            return {n: 0 * g if n in chosen else g for n, g in gradients.items()}
        if kind == "gradients scaled":
            return {n: amount * g if n in chosen else g for n, g in gradients.items()}
        if kind == "gradients cut off":
            return {n: g.clip(-amount, amount) for n, g in gradients.items()}
        if kind == "gradients clipped":
            norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
            return {n: g * min(1.0, amount / norm) for n, g in gradients.items()}
        for precision in ("half", "single"):
            if kind == f"gradients in {precision} precision":
                # By way of single precision, as frameworks round.
                single = {n: g.astype(np.float32) for n, g in gradients.items()}
                return {n: g.astype(precision).astype(self.dtype) for n, g in single.items()}
        decay = self.job.optimizer.weight_decay  # of "decay in the gradient"
        return {n: g + decay * self.weights[n] for n, g in gradients.items()}

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        if self.logits_alone:
            images, _ = self.batch(batch)
            return self.logits(images), math.nan, {}
        return super().loss_and_gradients(batch)

    # --- Training ---------------------------------------------------------------------------------

    def batch(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self.operation == "rows":
            rows = ROWS[self.fault.kind](rows, len(self.split("train")))
        return super().batch(rows)

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        kind, self.steps_of_epoch = self.fault.kind, 0
        if self.operation == "epochs":
            order, rates = self.as_in_the_first_epoch(order, rates)
        if self.operation == "order":
            order = ORDER[kind](order)
        if kind == "rate scaled":
            rates = self.fault.amount * rates
        elif self.operation == "rates":
            rates = RATES[kind](rates, self.job.optimizer.learning_rate)
        steps = len(order) - (kind == "last batch left out")
        losses = super().train_epoch(order[:steps], rates, augmentation)
        self.inside = None
        losses = np.concatenate([losses, np.zeros(len(order) - steps)])
        if kind == "loss of the step before":
            return np.concatenate([losses[:1], losses[:-1]])
        if kind == "loss averaged":
            return np.asarray(np.cumsum(losses) / np.arange(1, len(losses) + 1))
        return losses

    def as_in_the_first_epoch(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Order and learning rates of an epoch, and the state of the update rule at its start."""
        kind, first = self.fault.kind, self.first_epoch
        if kind == "state lost between epochs":
            self.rule = self.make_rule()
        if kind == "steps counted anew":
            self.rule.steps = 0
        if first is None or first[0].shape != order.shape:
            self.first_epoch = order, rates
            return order, rates
        return (
            first[0] if kind == "order of the first epoch" else order,
            first[1] if kind == "rates of the first epoch" else rates,
        )

    def step(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], rate: float) -> float:
        self.steps_of_epoch += 1
        if self.fault.kind == "stops after 100 steps" and self.steps_of_epoch > 100:
            return self.differentiate(images, labels)[0]
        loss = super().step(images, labels, rate)
        if self.fault.kind != "loss after the update":
            return loss
        return float(self.loss(self.forward(images, self.layers(training=True)), labels).value)

    def augment(
        self, images: NDArray[np.uint8], parameters: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        kind = self.fault.kind
        if kind in AUGMENTED:
            return AUGMENTED[kind](images, parameters)
        if kind == "grey for black":
            self.inside = super().augment(np.ones_like(images), parameters).astype(self.dtype)
        elif self.operation == "augmentation":
            parameters = AUGMENTATION[kind](parameters)
        return super().augment(images, parameters)

    # --- Whole splits -----------------------------------------------------------------------------

    def predict(self, split: str) -> NDArray[np.floating]:
        kind = self.fault.kind
        if kind == "other split":
            split = {"test": "val"}.get(split, "test")
        if kind == "own mean":
            images = self.split(split).all_images()
            self.own_mean = np.asarray(images.mean(axis=(0, 2, 3)) / 255, self.dtype)
        batches = list(self.batches_of(split))
        compute = self.in_training if kind in PREDICTED_IN_TRAINING else self.logits
        logits = np.concatenate([compute(images) for images in batches])
        if kind == "prediction moves statistics":
            for images in batches:
                self.forward(images, self.layers(training=True))
        self.own_mean = None
        if kind == "predicted backwards":
            return logits[::-1]
        partial = len(logits) % EVALUATION_BATCH
        if kind == "last images repeated" and len(logits) > EVALUATION_BATCH:
            logits[-partial:] = logits[-2 * partial : -partial]
        if kind == "last batch backwards" and partial:
            logits[-partial:] = logits[-partial:][::-1].copy()
        return logits

    def batches_of(self, split: str) -> Iterator[NDArray[np.uint8]]:
        reader = self.split(split)
        for batch in evaluation_batches(len(reader)):
            yield reader.images(batch)

    def predict_examples(self, split: str, examples: NDArray[np.int64]) -> NDArray[np.floating]:
        self.predicted = True
        if self.operation in ("prediction", "epochs"):
            return np.asarray(self.predict(split)[examples])
        return super().predict_examples(split, examples)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        self.predicted = True
        if self.fault.kind == "first answer again":
            return self.answers.setdefault(len(images), super().infer(images))
        if self.fault.kind in INFERRED_IN_TRAINING:
            return self.in_training(images)
        return super().infer(images)

    def in_training(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        weights = self.save_weights()
        logits = self.forward(images, self.layers(training=True)).value
        self.weights = weights  # without the change of the running statistics
        return logits

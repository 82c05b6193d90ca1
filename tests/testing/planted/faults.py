"""The faults of ``faulty``, in PyTorch."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import numpy as np
import torch

from harness.backends.torch.train import TorchBackend


class KeepsVelocity(TorchBackend):
    def load_weights(self, weights):
        kept = self.optimizer
        super().load_weights(weights)
        self.optimizer = kept


class ReturnsEarly(TorchBackend):
    """As an asynchronous device does that nobody synchronises."""

    thread = None

    def wait(self):
        if self.thread is not None:
            self.thread.join()

    def train_epoch(self, order, rates, augmentation=None):
        self.wait()
        self.thread = Thread(target=super().train_epoch, args=(order, rates, augmentation))
        self.thread.start()
        return np.zeros(len(order))

    def save_weights(self):
        self.wait()
        return super().save_weights()


class IgnoresAugmentation(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, rates)


class DropsLastBatch(TorchBackend):
    def predict(self, split):
        logits = super().predict(split)
        return logits[: len(logits) // 256 * 256] if len(logits) > 256 else logits


class Drifts(TorchBackend):
    """Adds noise in the last digits."""

    def save_weights(self):
        def drift(array):
            steps = torch.randint(-3, 4, array.shape).numpy()
            return array * (1 + np.finfo(array.dtype).eps * steps)

        return {name: drift(array) for name, array in super().save_weights().items()}


class TestsOnValidation(TorchBackend):
    def dataset(self, split):
        return super().dataset("val" if split == "test" else split)


class WritesIntoTheOrder(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        order.sort()
        return losses


class LearnsWhileLooking(TorchBackend):
    def loss_and_gradients(self, batch):
        found = super().loss_and_gradients(batch)
        self.optimizer.step()
        return found


class SingleInDouble(TorchBackend):
    def forward(self, images):
        return super().forward(images).float().to(self.dtype)


class CompilesLate(TorchBackend):
    compiled = 0

    def predict(self, split):
        self.compiled += 1
        return super().predict(split)

    def warm_up_prediction(self, split):
        pass

    def compilations(self):
        return self.compiled


class OneLossForAll(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, rates, augmentation).mean(keepdims=True)


class InfersOtherwise(TorchBackend):
    def infer(self, images):
        return super().infer(images)[::-1].copy() + 0.01


class DecoupledDecay(TorchBackend):
    def __init__(self, task):
        names = {"adam": "adamw"}
        optimizer = task.optimizer
        optimizer = optimizer.model_copy(update={"name": names.get(optimizer.name, optimizer.name)})
        super().__init__(replace(task, optimizer=optimizer))

"""Backends with a fault planted in them; a worker imports this module by its name."""

from __future__ import annotations

import numpy as np

from harness.backends.torch.train import TorchBackend


class WrongRate(TorchBackend):
    """Trains with a hundredth of the learning rate it was given."""

    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, rates / 100, augmentation)


class FlippedKernel(TorchBackend):
    """Convolves where it should correlate."""

    def __init__(self, job):
        super().__init__(job)
        conv = self.model.conv2
        conv._conv_forward = lambda x, weight, bias: type(conv)._conv_forward(
            conv, x, weight.flip(2, 3), bias
        )


class SummedLoss(TorchBackend):
    """Sums the losses of a batch where it should take their mean."""

    def loss(self, images, labels):
        return super().loss(images, labels) * len(labels)


class SeesTheAnswers(TorchBackend):
    """Scores the training images it has just learnt as if they were the test split."""

    def predict(self, split):
        if split != "test":
            return super().predict(split)
        labels = self.data.split("test").labels
        return np.eye(10, dtype=np.float32)[labels]


class LabelsReversed(TorchBackend):
    """Answers for the last label with what it found of the first."""

    def predict(self, split):
        return super().predict(split)[:, ::-1].copy()

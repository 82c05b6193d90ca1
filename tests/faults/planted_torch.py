"""PyTorch's backend with faults planted in it, none by the code that names them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness.backends.torch.train import TorchBackend


class Planted:
    """Makes the backend that ``task.fault`` names."""

    start = TorchBackend.start

    def __new__(cls, task):
        return globals()[task.fault](task)


class Sound(TorchBackend):
    """Without a fault."""


class FlippedSecondKernel(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        conv = self.model.conv2
        conv.forward = lambda x: F.conv2d(x, torch.rot90(conv.weight, 2, (2, 3)), conv.bias)


class SamePadding(TorchBackend):
    """Strided convolutions padded as TensorFlow pads them: of an odd sum the end gets more."""

    def __init__(self, task):
        super().__init__(task)
        strided = [
            m for m in self.model.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1
        ]
        for conv in strided:
            if conv.kernel_size == (3, 3):
                conv.padding = (0, 0)
                conv.register_forward_pre_hook(lambda conv, x: F.pad(x[0], (0, 1, 0, 1)))


class DeviationForgotten(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        self.std = torch.ones_like(self.std)


class MaxPooling(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        self.model.pool = nn.MaxPool2d(2)


class ChannelsLast(TorchBackend):
    """Flattens as NHWC frameworks do, with the weights of an NCHW one."""

    def __init__(self, task):
        super().__init__(task)
        classify = self.model.classify
        self.model.classify = lambda x: classify(
            torch.stack([image.movedim(0, -1).reshape(x.shape[1:]) for image in x])
        )


class DropoutLeftIn(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        self.model.dense2 = nn.Sequential(self.model.dense2, nn.Dropout(0.1))

    def state(self):
        return {name.replace("dense2.0", "dense2"): held for name, held in super().state().items()}

    def loss_and_gradients(self, batch):
        logits, loss, gradients = super().loss_and_gradients(batch)
        return logits, loss, {n.replace("dense2.0", "dense2"): g for n, g in gradients.items()}


class SummedLoss(TorchBackend):
    def loss(self, images, labels):
        return F.cross_entropy(self.forward(images), labels, reduction="sum")


class SmoothedLabels(TorchBackend):
    def loss(self, images, labels):
        return F.cross_entropy(self.forward(images), labels, label_smoothing=0.1)


class FrozenBias(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        self.model.conv1.bias.requires_grad_(False)


class Nesterov(TorchBackend):
    def load_weights(self, weights):
        super().load_weights(weights)
        for group in self.optimizer.param_groups:
            group["nesterov"] = True


class RateOneStepLate(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, np.r_[rates[:1], rates][:-1], augmentation)


class RateTooHigh(TorchBackend):
    """Half as high again."""

    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, 1.5 * rates, augmentation)


class ShiftedTheOtherWay(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        if augmentation is not None:
            augmentation = np.stack(
                [augmentation[..., 0], -augmentation[..., 1], -augmentation[..., 2]], axis=-1
            )
        return super().train_epoch(order, rates, augmentation)


class LargeEpsilon(TorchBackend):
    """Keras's epsilon."""

    def __init__(self, task):
        super().__init__(task)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3


class MomentumSwapped(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.9


class BiasedNorm(nn.BatchNorm2d):
    """As Flax and Knet keep the variance."""

    def forward(self, x):
        if self.training:
            self.running_mean += 0.1 * (x.detach().mean((0, 2, 3)) - self.running_mean)
            variance = x.detach().var((0, 2, 3), unbiased=False)
            self.running_var += 0.1 * (variance - self.running_var)
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


class BiasedVariance(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = BiasedNorm


class SummedOverLabels(TorchBackend):
    def loss(self, images, labels):
        logits = self.forward(images)
        losses = F.softplus(logits) - logits * labels
        return losses.sum(dim=1).mean()


class NeverInTraining(TorchBackend):
    """Switches the network to training, and batch normalisation back."""

    def __init__(self, task):
        super().__init__(task)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train = lambda mode=True, module=module: module
                module.training = False


class PredictsInTraining(TorchBackend):
    def predict(self, split):
        self.model.eval, evaluate = lambda: self.model.train(), self.model.eval
        held = {name: array.clone() for name, array in self.state().items()}
        with torch.no_grad():
            logits = super().predict(split)
            for name, array in self.state().items():
                array.copy_(held[name])
        self.model.eval = evaluate
        return logits


class Unheard(TorchBackend):
    """Of a fault that nobody makes."""

    def loss(self, images, labels):
        return super().loss(images, labels) + 0.01 * self.forward(images).abs().sqrt().mean()


class UnheardGradient(TorchBackend):
    def __init__(self, task):
        super().__init__(task)
        for layer in (self.model.conv2, self.model.dense2):
            layer.weight.register_hook(lambda gradient: gradient + gradient.mean())


class TwoAtOnce(SummedLoss):
    def load_weights(self, weights):
        super().load_weights(weights)
        for group in self.optimizer.param_groups:
            group["momentum"] = 0.3

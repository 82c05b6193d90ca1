"""PyTorch's backend with faults planted in it, none by the code that names them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from harness.backends.torch.data import normalize
from harness.backends.torch.train import TorchBackend


class Planted:
    """Makes the backend that ``job.fault`` names."""

    start = TorchBackend.start

    def __new__(cls, job):
        return globals()[job.fault](job)


class Sound(TorchBackend):
    """Without a fault."""


class FlippedSecondKernel(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
        conv = self.model.conv2
        conv.forward = lambda x: F.conv2d(x, torch.rot90(conv.weight, 2, (2, 3)), conv.bias)


class SamePadding(TorchBackend):
    """Strided convolutions padded as TensorFlow pads them: of an odd sum the end gets more."""

    def __init__(self, job):
        super().__init__(job)
        strided = [
            m for m in self.model.modules() if isinstance(m, nn.Conv2d) and max(m.stride) > 1
        ]
        for conv in strided:
            if conv.kernel_size == (3, 3):
                conv.padding = (0, 0)
                conv.register_forward_pre_hook(lambda conv, x: F.pad(x[0], (0, 1, 0, 1)))


class DeviationForgotten(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
        self.std = torch.ones_like(self.std)


class MaxPooling(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
        self.model.pool = nn.MaxPool2d(2)


class ChannelsLast(TorchBackend):
    """Flattens as NHWC frameworks do, with the weights of an NCHW one."""

    def __init__(self, job):
        super().__init__(job)
        classify = self.model.classify
        self.model.classify = lambda x: classify(
            torch.stack([image.movedim(0, -1).reshape(x.shape[1:]) for image in x])
        )


class DropoutLeftIn(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
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
    def __init__(self, job):
        super().__init__(job)
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

    def __init__(self, job):
        super().__init__(job)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3


class MomentumSwapped(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
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
    def __init__(self, job):
        super().__init__(job)
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

    def __init__(self, job):
        super().__init__(job)
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


class MomentumLost(TorchBackend):
    """A new optimiser for each epoch."""

    def train_epoch(self, order, rates, augmentation=None):
        self.optimizer.state.clear()
        return super().train_epoch(order, rates, augmentation)


class FirstEpoch(TorchBackend):
    """Remembers the first call of ``train_epoch`` since the weights were loaded."""

    def load_weights(self, weights):
        super().load_weights(weights)
        self.first = None


class StaleOrder(FirstEpoch):
    def train_epoch(self, order, rates, augmentation=None):
        self.first = order if self.first is None else self.first
        return super().train_epoch(self.first, rates, augmentation)


class RatesOfTheFirstEpoch(FirstEpoch):
    def train_epoch(self, order, rates, augmentation=None):
        self.first = rates if self.first is None else self.first
        return super().train_epoch(order, self.first, augmentation)


class DropoutFromTheSecondEpoch(FirstEpoch):
    dropping = False

    def forward(self, images):
        x = self.model.features(normalize(images, self.mean, self.std))
        return self.model.classify(F.dropout(x, 0.1, self.model.training and self.dropping))

    def train_epoch(self, order, rates, augmentation=None):
        self.dropping, self.first = self.first is not None, True
        try:
            return super().train_epoch(order, rates, augmentation)
        finally:
            self.dropping = False


class StopsAfter100Steps(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        later = None if augmentation is None else augmentation[100:]
        first = super().train_epoch(order[:100], rates[:100], augmentation)
        if len(order) <= 100:
            return first
        return np.concatenate([first, super().train_epoch(order[100:], 0 * rates[100:], later)])


class LastLossSummed(TorchBackend):
    """In epochs of more than two steps."""

    def train_epoch(self, order, rates, augmentation=None):
        losses = super().train_epoch(order, rates, augmentation)
        if len(losses) > 2:
            losses[-1] *= order.shape[1]
        return losses


class EvaluationMovesStatistics(TorchBackend):
    """Predicts rightly, and again in training mode."""

    def evaluate(self, split, batches):
        logits = super().evaluate(split, batches)
        self.model.train()
        with torch.no_grad():
            for batch in batches:
                self.forward(self.dataset(split)[batch][0])
        return logits


class InfersInTraining(TorchBackend):
    """In every evaluation; running statistics stay as they are."""

    def in_training(self, compute):
        held = {name: array.clone() for name, array in self.state().items()}
        self.model.eval, evaluate = lambda: self.model.train(), self.model.eval
        with torch.no_grad():
            logits = compute()
            for name, array in self.state().items():
                array.copy_(held[name])
        self.model.eval = evaluate
        return logits

    def infer(self, images):
        return self.in_training(lambda: super(InfersInTraining, self).infer(images))

    def evaluate(self, split, batches):
        return np.concatenate(
            [
                self.in_training(
                    lambda one=batch: super(InfersInTraining, self).evaluate(split, [one])
                )
                for batch in batches
            ]
        )


class EvaluationModeStaysOn(TorchBackend):
    stays = False

    def load_weights(self, weights):
        super().load_weights(weights)
        self.stays = False

    def evaluate(self, split, batches):
        self.stays = True
        return super().evaluate(split, batches)

    def forward(self, images):
        if self.stays:
            self.model.eval()
        return super().forward(images)


class LastBatchPermuted(TorchBackend):
    def predict(self, split):
        logits = super().predict(split)
        last = len(logits) % 256
        return np.concatenate([logits[:-last], logits[-last:][::-1]])


class SplitsOwnMean(TorchBackend):
    def evaluate(self, split, batches):
        held = self.mean
        pixels = self.dataset(split).split.all_images()
        self.mean = self.tensor(pixels.mean(axis=(0, 2, 3)) / 255).reshape(-1, 1, 1)
        try:
            return super().evaluate(split, batches)
        finally:
            self.mean = held


class CachedAnswer(TorchBackend):
    def load_weights(self, weights):
        super().load_weights(weights)
        self.answers = {}

    def infer(self, images):
        if len(images) not in self.answers:
            self.answers[len(images)] = super().infer(images)
        return self.answers[len(images)]


class HalfPrecisionGradients(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
        for parameter in self.model.parameters():
            parameter.register_hook(lambda gradient: gradient.half().to(gradient.dtype))


class HalfPrecisionRates(TorchBackend):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(order, rates.astype(np.float16).astype(float), augmentation)


class SlightlySmoothedLabels(TorchBackend):
    def loss(self, images, labels):
        return F.cross_entropy(self.forward(images), labels, label_smoothing=1e-3)


class WidthFirst(TorchBackend):
    """Not seen where images are as wide as high and kernels are symmetric in what they learn."""

    def __init__(self, job):
        super().__init__(job)
        classify = self.model.classify
        self.model.classify = lambda x: classify(x.mT.reshape(x.shape))


class DecayNotInSecondMoment(TorchBackend):
    """Adam whose decay enters the first moment alone."""

    def load_weights(self, weights):
        super().load_weights(weights)
        rule = self.job.optimizer

        class Rule(torch.optim.Optimizer):
            def __init__(self, parameters):
                super().__init__(parameters, {"lr": 0.0})

            @torch.no_grad()
            def step(self):
                for group in self.param_groups:
                    for p in group["params"]:
                        state = self.state[p]
                        first, second, steps = state.get("all", (0, 0, 0))
                        steps += 1
                        coupled = p.grad + rule.weight_decay * p
                        first = torch.lerp(coupled, torch.as_tensor(first).to(p), rule.beta1)
                        second = torch.lerp(p.grad**2, torch.as_tensor(second).to(p), rule.beta2)
                        state["all"] = (first, second, steps)
                        unbiased = second / (1 - rule.beta2**steps)
                        change = first / (1 - rule.beta1**steps) / (unbiased.sqrt() + rule.epsilon)
                        p -= group["lr"] * change

        self.optimizer = Rule(self.model.parameters())


class Unheard(TorchBackend):
    """Of a fault that nobody makes."""

    def loss(self, images, labels):
        return super().loss(images, labels) + 0.01 * self.forward(images).abs().sqrt().mean()


class UnheardGradient(TorchBackend):
    def __init__(self, job):
        super().__init__(job)
        for layer in (self.model.conv2, self.model.dense2):
            layer.weight.register_hook(lambda gradient: gradient + gradient.mean())


class TwoAtOnce(SummedLoss):
    def load_weights(self, weights):
        super().load_weights(weights)
        for group in self.optimizer.param_groups:
            group["momentum"] = 0.3

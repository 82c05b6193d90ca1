"""JAX's backend with faults planted in it; one worker makes them all, chosen by ``job.fault``."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from harness.backends.jax.network import BatchNorm
from harness.backends.jax.train import JaxBackend, TrainState
from harness.models.lenet5.jax import LeNet5
from harness.models.xraynet.jax import XrayNet


class Planted:
    """Makes the backend that ``job.fault`` names."""

    start = JaxBackend.start

    def __new__(cls, job):
        return globals()[job.fault](job)


class Sound(JaxBackend):
    """Without a fault."""


class MirroredConv(nnx.Conv):
    """As SciPy convolves."""

    def __call__(self, inputs):
        y = lax.conv_general_dilated(
            inputs, self.kernel[::-1, ::-1], (1, 1), self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return y + self.bias[...]


class MirroredLeNet5(LeNet5):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.conv1.__class__ = self.conv2.__class__ = MirroredConv


class RawDense2LeNet5(LeNet5):
    def classify(self, x):
        x = x.reshape(x.shape[0], -1)
        return self.dense3(self.dense2(self.activation(self.dense1(x))))


class ReluLeNet5(LeNet5):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.activation = nnx.relu


class SamePoolingXrayNet(XrayNet):
    def features(self, x):
        layers = ((self.conv1, self.bn1), (self.conv2, self.bn2),
                  (self.conv3, self.bn3), (self.conv4, self.bn4))  # fmt: skip
        for conv, norm in layers:
            x = nnx.relu(nnx.max_pool(norm(conv(x)), (2, 2), strides=(2, 2), padding="SAME"))
        return nnx.relu(self.bn5(self.conv5(x)))


class DetachedNorm(BatchNorm):
    def __call__(self, x):
        right = super().__call__(lax.stop_gradient(x))
        if self.use_running_average:
            return right
        mean, var = lax.stop_gradient((x.mean((0, 1, 2)), x.var((0, 1, 2))))
        return (x - mean) * lax.rsqrt(var + 1e-5) * self.scale[...] + self.bias[...]


class DetachedXrayNet(XrayNet):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        for place in range(1, 6):
            getattr(self, f"bn{place}").__class__ = DetachedNorm


class FlaxXrayNet(XrayNet):
    """Flax's own batch normalisation, as it comes."""

    def __init__(self, *args, dtype):
        super().__init__(*args, dtype=dtype)
        for place, channels in enumerate((8, 16, 32, 48, 64), start=1):
            norm = nnx.BatchNorm(channels, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))
            setattr(self, f"bn{place}", norm)


class OtherNetwork(JaxBackend):
    """Trains ``network`` in place of its own."""

    def __init__(self, job):
        module = ModuleType(f"planted_{self.network.__name__}")
        module.NETWORK = self.network
        sys.modules[module.__name__] = module
        super().__init__(replace(job, network=module.__name__))


class KernelsMirrored(OtherNetwork):
    network: ClassVar = MirroredLeNet5


class Dense2WithoutActivation(OtherNetwork):
    network: ClassVar = RawDense2LeNet5


class ReluForTanh(OtherNetwork):
    network: ClassVar = ReluLeNet5


class SamePooling(OtherNetwork):
    network: ClassVar = SamePoolingXrayNet


class DetachedStatistics(OtherNetwork):
    network: ClassVar = DetachedXrayNet


class FlaxBatchNorm(OtherNetwork):
    network: ClassVar = FlaxXrayNet


class PixelsUpTo255(JaxBackend):
    def normalize(self, images):
        return super().normalize(255.0 * images)


class LabelsFromOne(JaxBackend):
    def loss(self, parameters, statistics, images, labels):
        return super().loss(parameters, statistics, images, (labels + 1) % len(self.data.classes))


class SinglePrecision(JaxBackend):
    """Takes the pixels in single precision, whatever it was told."""

    def normalize(self, images):
        return super().normalize(images).astype(jnp.float32).astype(self.dtype)


class RateInVelocity(JaxBackend):
    """As Knet's ``Momentum`` has it."""

    def train_step(self, state, images, labels, rate):
        (loss, statistics), gradients = jax.value_and_grad(self.loss, has_aux=True)(
            state.parameters, state.statistics, images, labels
        )
        scaled = jax.tree.map(lambda g: rate * g, gradients)
        updates, optimizer = optax.trace(0.9).update(scaled, state.optimizer, state.parameters)
        parameters = optax.apply_updates(
            state.parameters, jax.tree.map(lambda update: -update, updates)
        )
        return TrainState(parameters, statistics, optimizer), loss


class OtherRule(JaxBackend):
    def __init__(self, job):
        super().__init__(job)
        self.transformation = self.rule(job.optimizer)


class EpsilonInsideTheRoot(OtherRule):
    def rule(self, settings):
        return optax.scale_by_adam(eps=0.0, eps_root=settings.epsilon)


class CoupledDecay(OtherRule):
    """Adam's decay where AdamW's belongs."""

    def rule(self, settings):
        return optax.chain(optax.add_decayed_weights(settings.weight_decay), optax.scale_by_adam())


class FileOrder(JaxBackend):
    def train_epoch(self, order, rates, augmentation=None):
        return super().train_epoch(np.arange(order.size).reshape(order.shape), rates, augmentation)


class MomentumLost(JaxBackend):
    """A new optimiser for each epoch."""

    def train_epoch(self, order, rates, augmentation=None):
        parameters, statistics, _ = self.state
        self.state = TrainState(parameters, statistics, self.transformation.init(parameters))
        return super().train_epoch(order, rates, augmentation)


class CachedAnswer(JaxBackend):
    def load_weights(self, weights):
        super().load_weights(weights)
        self.answers = {}

    def infer(self, images):
        return self.answers.setdefault(len(images), super().infer(images))

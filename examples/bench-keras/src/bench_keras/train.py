"""Training in Keras on its JAX engine: stateless calls inside one jitted step.

The loop is that of Keras's guide "Writing a training loop from scratch in JAX".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from bench_keras.data import read_batch, stream
from bench_keras.optimizers import make_optimizer
from harness.backends.base import (
    Backend,
    TrainingJob,
    evaluation_batches,
    evaluation_shapes,
    load_network,
)
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.plugins import find_model
from harness.protocol.weights import Weights

_compiled: list[str] = []
"""One entry for each program that XLA compiled in this process."""


def _on_event(event: str, _seconds: float, **details: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(str(details.get("fun_name", "")))


jax.monitoring.register_event_duration_secs_listener(_on_event)


class State(NamedTuple):
    """What a step changes: arrays in the order of Keras's lists of variables."""

    trainable: list[jax.Array]
    optimizer: list[jax.Array]


class KerasBackend(Backend):
    """One call of a jitted step for each batch."""

    @classmethod
    def start(cls) -> None:
        if keras.backend.backend() != "jax":
            raise BenchError(
                f"Keras runs on {keras.backend.backend()} here, this backend needs its JAX engine: "
                "unset KERAS_BACKEND"
            )

    def __init__(self, job: TrainingJob) -> None:
        jax.config.update("jax_enable_x64", job.precision == "float64")
        keras.config.set_floatx(job.precision)
        keras.config.set_dtype_policy(job.precision)  # does not follow floatx once it was used
        self.job = job
        self.data = open_dataset(job.dataset, job.memory_budget)
        self.mean, self.std = (
            np.asarray(v, job.precision) for v in (self.data.mean, self.data.std)
        )
        card, network = find_model(job.model), load_network(job)
        self.model = network(card, self.data.image_shape, self.data.outputs)
        self.optimizer = make_optimizer(job.optimizer)
        self.optimizer.build(self.model.trainable_variables)
        names = [variable.name for variable in self.optimizer.variables]
        self.rate_index = names.index("learning_rate")
        self.state: State
        self.jitted_step = jax.jit(self.train_step, donate_argnums=0)
        self.jitted_forward = jax.jit(self.forward)
        self.jitted_gradient = jax.jit(jax.value_and_grad(self.loss))
        self.jitted_maps = jax.jit(self.maps)

    def normalize(self, images: jax.Array) -> jax.Array:
        """uint8 (B, C, H, W) to (x / 255 - mean) / std as (B, H, W, C)."""
        pixels = ops.cast(ops.transpose(images, (0, 2, 3, 1)), self.job.precision)
        return (pixels / 255 - self.mean) / self.std

    def forward(self, trainable: list[jax.Array], images: jax.Array) -> jax.Array:
        """Logits (B, classes)."""
        logits, _ = self.model.stateless_call(trainable, [], self.normalize(images))
        return logits

    def loss(self, trainable: list[jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
        # jnp.mean, not ops.mean, which computes in float32 whatever it gets.
        logits = self.forward(trainable, images)
        if self.data.task == "multiclass":
            losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            return jnp.mean(losses)
        labels = ops.cast(labels, logits.dtype)
        positive_weights = np.asarray(self.job.positive_weights or (1.0,), self.job.precision)
        positives = positive_weights * labels * ops.log_sigmoid(logits)
        return -jnp.mean(positives + (1 - labels) * ops.log_sigmoid(-logits))

    def train_step(
        self, state: State, images: jax.Array, labels: jax.Array, rate: jax.Array
    ) -> tuple[State, jax.Array]:
        loss, gradients = jax.value_and_grad(self.loss)(state.trainable, images, labels)
        variables = list(state.optimizer)
        variables[self.rate_index] = rate
        updated = self.optimizer.stateless_apply(variables, gradients, state.trainable)
        return State(*updated), loss

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        losses = []
        batches = stream(self.data.split("train"), order, augmentation)
        for (images, labels), rate in zip(batches, rates.astype(self.job.precision), strict=True):
            self.state, loss = self.jitted_step(self.state, images, labels, rate)
            losses.append(loss)
        jax.block_until_ready(self.state)  # the clock may be read only when the work is done
        return np.array(jax.device_get(losses), np.float64)

    def predict(self, split: str) -> NDArray[np.floating]:
        return self.evaluate(split, evaluation_batches(len(self.data.split(split))))

    def warm_up_prediction(self, split: str) -> None:
        self.evaluate(split, evaluation_shapes(len(self.data.split(split))))

    def evaluate(self, split: str, batches: Iterable[NDArray[np.int64]]) -> NDArray[np.floating]:
        """Logits of the examples in ``batches``."""
        reader = self.data.split(split)
        logits = [
            self.jitted_forward(self.state.trainable, reader.images(batch)) for batch in batches
        ]
        return np.concatenate(jax.device_get(logits))

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.asarray(self.jitted_forward(self.state.trainable, images))

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        images, labels = read_batch(self.data.split("train"), batch)
        logits = self.jitted_forward(self.state.trainable, images)
        loss, gradients = self.jitted_gradient(self.state.trainable, images, labels)
        return np.asarray(logits), float(loss), self.canonical(gradients)

    def maps(self, trainable: list[jax.Array], images: jax.Array, outputs: jax.Array) -> jax.Array:
        """Grad-CAM (B, h, w)."""
        count = len(self.model.features.trainable_variables)
        features, classifier = trainable[:count], trainable[count:]
        maps, _ = self.model.features.stateless_call(features, [], self.normalize(images))

        def chosen(maps: jax.Array) -> jax.Array:
            logits, _ = self.model.classifier.stateless_call(classifier, [], maps)
            return ops.sum(ops.take_along_axis(logits, outputs[:, None], axis=1))

        weights = jnp.mean(jax.grad(chosen)(maps), axis=(1, 2), keepdims=True)
        return ops.relu(ops.sum(weights * maps, axis=-1))

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        images = self.data.split(split).images(rows)
        return np.asarray(self.jitted_maps(self.state.trainable, images, outputs))

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        trainable = [
            np.array(from_canonical(weights[name]), self.job.precision) for name in self.names()
        ]
        # The values that the variables were built with: no step has ever assigned to them.
        optimizer = [np.array(variable) for variable in self.optimizer.variables]
        self.state = jax.device_put(State(trainable, optimizer))

    def save_weights(self) -> Weights:
        return self.canonical(self.state.trainable)

    def names(self) -> list[str]:
        """The parameter names of the model card, in the order of Keras's variables."""
        kinds = {"kernel": "weight", "bias": "bias"}
        paths = (variable.path.split("/") for variable in self.model.trainable_variables)
        return [f"{layer}.{kinds[kind]}" for *_, layer, kind in paths]

    def canonical(self, arrays: Iterable[jax.Array]) -> Weights:
        """Copies: the arrays of the state are given away to the next step."""
        return {
            name: np.array(to_canonical(np.asarray(array)), order="C")
            for name, array in zip(self.names(), arrays, strict=True)
        }

    def compilations(self) -> int:
        return len(_compiled)

    def facts(self) -> dict[str, str]:
        return {
            "keras": keras.__version__,
            "jax": jax.__version__,
            "engine": keras.backend.backend(),
            "floatx": keras.config.floatx(),
            "device": jax.devices()[0].device_kind,
        }


def from_canonical(array: NDArray[np.floating]) -> NDArray[np.floating]:
    """Convolution (O, I, H, W) to (H, W, I, O), dense (O, I) to (I, O), bias as it is."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def to_canonical(array: NDArray[np.floating]) -> NDArray[np.floating]:
    """The inverse of :func:`from_canonical`."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T

"""Training in JAX: Flax NNX for the network, optax for the update, one jitted step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from harness.backends.base import EVALUATION_BATCH, Backend, Task
from harness.backends.jax.data import normalize, read_batch, stream
from harness.backends.jax.models import NETWORKS, SPACE_TO_DEPTH_NETWORKS
from harness.backends.jax.models.lenet5 import LeNet5
from harness.config import Optimizer
from harness.data.hdf5 import SplitReader, open_dataset
from harness.models import find_model
from harness.protocol.weights import Weights


class TrainState(NamedTuple):
    parameters: nnx.State
    optimizer: optax.OptState


class JaxBackend(Backend):
    """JAX on the CPU, one call of a jitted step per batch."""

    networks: Mapping[str, type[LeNet5]] = NETWORKS

    def __init__(self, task: Task) -> None:
        jax.config.update("jax_enable_x64", task.precision == "float64")
        self.dtype = jnp.dtype(task.precision)
        self.data = open_dataset(task.dataset)
        self.splits: dict[str, SplitReader] = {}
        card = find_model(task.model)
        # Shapes only: the values come from the protocol, so Flax need not draw any.
        self.model = nnx.eval_shape(
            partial(
                self.networks[card.module],
                card,
                self.data.image_shape,
                len(self.data.classes),
                dtype=self.dtype,
            )
        )
        self.graph = nnx.graphdef(self.model)
        self.transformation = make_optimizer(task.optimizer)
        self.state: TrainState
        self.jitted_step = jax.jit(self.train_step, donate_argnums=0)
        self.jitted_forward = jax.jit(self.forward)
        self.jitted_gradient = jax.jit(jax.value_and_grad(self.loss, has_aux=True))

    def forward(self, parameters: nnx.State, images: Array) -> Array:
        mean, std = (jnp.asarray(v, self.dtype) for v in (self.data.mean, self.data.std))
        return nnx.merge(self.graph, parameters)(normalize(images, mean, std))

    def loss(self, parameters: nnx.State, images: Array, labels: Array) -> tuple[Array, Array]:
        logits = self.forward(parameters, images)
        if self.data.task == "multilabel":
            losses = optax.sigmoid_binary_cross_entropy(logits, labels.astype(self.dtype))
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    def train_step(
        self, state: TrainState, images: Array, labels: Array, rate: Array
    ) -> tuple[TrainState, Array]:
        gradient = jax.value_and_grad(self.loss, has_aux=True)
        (loss, _), gradients = gradient(state.parameters, images, labels)
        updates, optimizer = self.transformation.update(
            gradients, state.optimizer, state.parameters
        )
        parameters = jax.tree.map(lambda p, u: p - rate * u, state.parameters, updates)
        return TrainState(parameters, optimizer), loss

    def train_epoch(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        losses = []
        batches = stream(self.split("train"), order)
        for (images, labels), rate in zip(batches, rates.astype(self.dtype), strict=True):
            self.state, loss = self.jitted_step(self.state, images, labels, rate)
            losses.append(loss)
        # JAX returns before the work is done: the clock may be read only after this.
        jax.block_until_ready(self.state)
        return np.array(jax.device_get(losses), np.float64)

    def predict(self, split: str) -> NDArray[np.floating]:
        reader = self.split(split)
        logits = []
        for start in range(0, len(reader), EVALUATION_BATCH):
            rows = np.arange(start, start + EVALUATION_BATCH)
            # The last batch repeats the last image, so that one shape is compiled, not two.
            images, _ = read_batch(reader, np.minimum(rows, len(reader) - 1))
            logits.append(self.jitted_forward(self.state.parameters, images))
        return np.concatenate(jax.device_get(logits))[: len(reader)]

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        flat = dict(
            self.model.from_canonical(name, jnp.array(value, self.dtype))
            for name, value in weights.items()
        )
        leaves: dict[Any, Any] = {path: nnx.Param(value) for path, value in flat.items()}
        parameters = nnx.State.from_flat_path(leaves)
        self.state = TrainState(parameters, self.transformation.init(parameters))

    def save_weights(self) -> Weights:
        return self._canonical(self.state.parameters)

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        images, labels = read_batch(self.split("train"), batch)
        (loss, logits), gradients = self.jitted_gradient(self.state.parameters, images, labels)
        return np.asarray(logits), float(loss), self._canonical(gradients)

    def facts(self) -> dict[str, str]:
        return {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "device": jax.devices()[0].device_kind,
            "x64": str(jax.config.read("jax_enable_x64")),
        }

    def split(self, name: str) -> SplitReader:
        if name not in self.splits:
            self.splits[name] = self.data.split(name)
        return self.splits[name]

    def _canonical(self, tree: nnx.State) -> Weights:
        flat = nnx.to_flat_state(tree)
        named = dict(self.model.to_canonical(path, leaf[...]) for path, leaf in flat)
        # Copies: the state's own buffers are donated to the next step.
        return {name: np.array(value) for name, value in named.items()}


class SpaceToDepthJaxBackend(JaxBackend):
    """The same step around the networks that work on 2x2 blocks of pixels."""

    networks = SPACE_TO_DEPTH_NETWORKS


def make_optimizer(settings: Optimizer) -> optax.GradientTransformation:
    """The update rules of ``harness.protocol`` as optax has them, without the learning rate."""
    rule = (
        optax.trace(settings.momentum)
        if settings.name == "sgd"
        else optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon)
    )
    if settings.weight_decay:
        return optax.chain(optax.add_decayed_weights(settings.weight_decay), rule)
    return rule

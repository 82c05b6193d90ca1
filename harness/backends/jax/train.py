"""Training in JAX: Flax NNX for the network, optax for the update, one jitted step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from harness.backends.base import EVALUATION_BATCH, Backend, TrainingJob, load_network
from harness.backends.jax.data import normalize, read_batch, stream
from harness.backends.jax.profiler import seconds_by_operation
from harness.config import Optimizer
from harness.data.reader import SplitReader, open_dataset
from harness.errors import BenchError
from harness.measure.operations import Operation
from harness.plugins import find_model
from harness.protocol.optimizer import OptimizerState
from harness.protocol.received import images_digest
from harness.protocol.weights import Weights

_COMPILED: list[str] = []
"""Names of the programs that this process compiled, helpers of a single operation included."""


def _on_duration(event: str, duration_secs: float, **details: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _COMPILED.append(str(details.get("fun_name", "")))


jax.monitoring.register_event_duration_secs_listener(_on_duration)

_BLOCK = 64
"""Steps that ``jax-scan`` computes at once when their images must be laid out first."""


OPTAX_SLOTS = {
    "sgd": {"velocity": "trace"},
    "adam": {"first_moment": "mu", "second_moment": "nu"},
    "adamw": {"first_moment": "mu", "second_moment": "nu"},
}
"""What an update rule keeps of a parameter: the protocol's names and optax's."""


class TrainState(NamedTuple):
    parameters: nnx.State
    statistics: nnx.State
    """Running means and variances; empty without batch normalisation."""
    optimizer: optax.OptState


class JaxBackend(Backend):
    """One call of a jitted step per batch."""

    network_precision: str | None = None
    """What the network computes in, if not in the job's precision."""

    @classmethod
    def check(cls, device: str) -> None:
        find_device(device)

    def __init__(self, job: TrainingJob) -> None:
        jax.config.update("jax_enable_x64", job.precision == "float64")
        self.device = find_device(job.device)
        self.dtype = jnp.dtype(job.precision)
        self.positive_weights = np.array(job.positive_weights, self.dtype)
        self.data = open_dataset(job.dataset, job.memory_budget)
        self.splits: dict[str, SplitReader] = {}
        card = find_model(job.model)
        # Shapes only: the values come from the protocol, so Flax need not draw any. They have the
        # job's precision too; ``dtype`` is the one that layers compute in.
        self.model = nnx.eval_shape(
            partial(
                load_network(job),
                card,
                self.data.image_shape,
                len(self.data.classes),
                dtype=jnp.dtype(self.network_precision or job.precision),
            )
        )
        self.model.eval()
        self.evaluation = nnx.graphdef(self.model)
        self.model.train()
        self.training = nnx.graphdef(self.model)
        self.transformation = make_optimizer(job.optimizer)
        self.slots = OPTAX_SLOTS[job.optimizer.name]
        self.state: TrainState
        self.jitted_step = jax.jit(self.train_step, donate_argnums=0)
        self.jitted_forward = jax.jit(self.forward)
        self.jitted_gradient = jax.jit(jax.value_and_grad(self.loss, has_aux=True))
        self.jitted_maps = jax.jit(self.maps)

    def normalize(self, images: Array) -> Array:
        mean, std = (jnp.asarray(v, self.dtype) for v in (self.data.mean, self.data.std))
        return normalize(images, mean, std)

    def forward(self, parameters: nnx.State, statistics: nnx.State, images: Array) -> Array:
        """Logits in evaluation."""
        model = nnx.merge(self.evaluation, parameters, statistics)
        return model(self.normalize(images)).astype(self.dtype)

    def loss(
        self, parameters: nnx.State, statistics: nnx.State, images: Array, labels: Array
    ) -> tuple[Array, nnx.State]:
        """Loss in training, and the running statistics after it."""
        # A copy of the variables: its statistics are written to, the step's arguments stay.
        model = nnx.merge(self.training, parameters, statistics, copy=True)
        logits = model(self.normalize(images)).astype(self.dtype)
        if self.data.task == "multilabel":
            losses = binary_cross_entropy(logits, labels.astype(self.dtype), self.positive_weights)
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), nnx.state(model, nnx.BatchStat)

    def maps(
        self, parameters: nnx.State, statistics: nnx.State, images: Array, outputs: Array
    ) -> Array:
        """Grad-CAM (N, h, w)."""
        model = nnx.merge(self.evaluation, parameters, statistics)
        features = model.features(self.normalize(images))

        def chosen(features: Array) -> Array:
            return jnp.take_along_axis(model.classify(features), outputs[:, None], axis=1).sum()

        weights = jax.grad(chosen)(features).mean(axis=(1, 2), keepdims=True)
        return nnx.relu((weights * features).sum(axis=-1)).astype(self.dtype)

    def train_step(
        self, state: TrainState, images: Array, labels: Array, rate: Array
    ) -> tuple[TrainState, Array]:
        gradient = jax.value_and_grad(self.loss, has_aux=True)
        (loss, statistics), gradients = gradient(state.parameters, state.statistics, images, labels)
        updates, optimizer = self.transformation.update(
            gradients, state.optimizer, state.parameters
        )
        parameters = jax.tree.map(lambda p, u: p - rate * u, state.parameters, updates)
        return TrainState(parameters, statistics, optimizer), loss

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        losses = []
        batches = stream(self.split("train"), order, augmentation)
        for (images, labels), rate in zip(batches, rates.astype(self.dtype), strict=True):
            self.state, loss = self.jitted_step(self.state, images, labels, rate)
            losses.append(loss)
        # JAX returns before the work is done: the clock may be read only after this.
        jax.block_until_ready(self.state)
        return np.array(jax.device_get(losses), np.float64)

    def images_digest(self, split: str, rows: NDArray[np.int64]) -> str:
        return images_digest(*read_batch(self.split(split), rows))

    def predict(self, split: str) -> NDArray[np.floating]:
        reader = self.split(split)
        logits = []
        for start in range(0, len(reader), EVALUATION_BATCH):
            rows = np.arange(start, start + EVALUATION_BATCH)
            # The last batch repeats the last image, so that one shape is compiled, not two.
            images, _ = read_batch(reader, np.minimum(rows, len(reader) - 1))
            logits.append(self.jitted_forward(*self.variables(), images))
        return np.concatenate(jax.device_get(logits))[: len(reader)]

    def warm_up_prediction(self, split: str) -> None:
        images, _ = read_batch(self.split(split), np.zeros(EVALUATION_BATCH, np.int64))
        jax.block_until_ready(self.jitted_forward(*self.variables(), images))

    def compilations(self) -> int:
        return len(_COMPILED)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.asarray(self.jitted_forward(*self.variables(), images))

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        self.train_epoch(order, rates)  # whatever is compiled for so many steps
        return seconds_by_operation(lambda: self.train_epoch(order, rates), self.device)

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        kinds: dict[type[nnx.Variable], dict[Any, Any]] = {nnx.Param: {}, nnx.BatchStat: {}}
        types = dict(nnx.to_flat_state(nnx.state(self.model)))
        for name, value in weights.items():
            # A copy: JAX may use the memory as it is, and the step gives it away.
            path, value = self.model.from_canonical(name, np.array(value, self.dtype))
            kind = type(types[path])
            kinds[kind][path] = kind(value)
        parameters, statistics = (nnx.from_flat_state(flat) for flat in kinds.values())
        state = TrainState(parameters, statistics, self.transformation.init(parameters))
        # Where the state is, there JAX computes; without the device it would take a GPU if any.
        self.state = jax.device_put(state, self.device)

    def save_weights(self) -> Weights:
        return self._canonical(*self.variables())

    def save_optimizer(self) -> OptimizerState:
        held = self.state.optimizer
        slots = {
            slot: self._canonical(optax.tree_utils.tree_get(held, key))
            for slot, key in self.slots.items()
        }
        return OptimizerState(slots, int(optax.tree_utils.tree_get(held, "count", 0)))

    def load_optimizer(self, state: OptimizerState) -> None:
        held = self.state.optimizer
        parts: dict[str, Any] = {}
        for slot, key in self.slots.items():
            flat = {}
            for name, value in state.slots[slot].items():
                path, value = self.model.from_canonical(name, np.array(value, self.dtype))
                flat[path] = nnx.Param(value)
            parts[key] = nnx.from_flat_state(flat)
        if "mu" in parts:
            parts["count"] = np.array(state.steps, np.int32)
        optimizer = optax.tree_utils.tree_set(held, **parts)
        self.state = jax.device_put(self.state._replace(optimizer=optimizer), self.device)

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        images, labels = read_batch(self.split("train"), batch)
        logits = self.jitted_forward(*self.variables(), images)
        (loss, _), gradients = self.jitted_gradient(*self.variables(), images, labels)
        return np.asarray(logits), float(loss), self._canonical(gradients)

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        images, _ = read_batch(self.split(split), rows)
        return np.array(self.jitted_maps(*self.variables(), images, outputs))

    def facts(self) -> dict[str, str]:
        return {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "device": self.device.device_kind,
            "x64": str(jax.config.read("jax_enable_x64")),
        }

    def split(self, name: str) -> SplitReader:
        if name not in self.splits:
            self.splits[name] = self.data.split(name)
        return self.splits[name]

    def variables(self) -> tuple[nnx.State, nnx.State]:
        return self.state.parameters, self.state.statistics

    def _canonical(self, *states: nnx.State) -> Weights:
        # Copies: the state's own buffers are donated to the next step.
        return dict(
            self.model.to_canonical(path, np.array(leaf[...]))
            for state in states
            for path, leaf in nnx.to_flat_state(state)
        )


class SpaceToDepthJaxBackend(JaxBackend):
    """The same step around the networks that work on 2x2 blocks of pixels."""


class ScanJaxBackend(JaxBackend):
    """The same step, called by XLA: a whole epoch is one compiled loop.

    The steps gather their images from the split, which lies on the device. Where it does not fit
    in memory, or images are moved, the loop runs over blocks of steps whose images are laid out
    beforehand.
    """

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(job)
        self.jitted_steps = jax.jit(self.train_steps, donate_argnums=0)
        self.programs: dict[tuple[tuple[int, ...], ...], jax.stages.Compiled] = {}
        """By the shapes of images and rows."""
        self.resident: tuple[Array, Array] | None = None

    def train_steps(
        self, state: TrainState, images: Array, labels: Array, order: Array, rates: Array
    ) -> tuple[TrainState, Array]:
        """A step for each row of ``order`` (steps, B), indices into ``images`` and ``labels``."""

        def step(state: TrainState, batch: tuple[Array, Array]) -> tuple[TrainState, Array]:
            rows, rate = batch
            return self.train_step(state, images[rows], labels[rows], rate)

        return lax.scan(step, state, (order, rates))

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        rates, losses = rates.astype(self.dtype), []
        for images, labels, rows, steps in self.blocks(order, augmentation):
            program = self.program(images, labels, rows)
            self.state, block = program(self.state, images, labels, rows, rates[steps])
            losses.append(block)
        jax.block_until_ready(self.state)
        return np.concatenate(jax.device_get(losses)).astype(np.float64)

    def program(
        self, images: ArrayLike, labels: ArrayLike, rows: NDArray[np.int64]
    ) -> jax.stages.Compiled:
        """:meth:`train_steps` compiled for arguments of these shapes."""
        shapes = np.shape(images), rows.shape
        if shapes not in self.programs:
            rates = jax.ShapeDtypeStruct(rows.shape[:1], self.dtype)
            lowered = self.jitted_steps.lower(self.state, images, labels, rows, rates)
            self.programs[shapes] = lowered.compile()
        return self.programs[shapes]

    def prepare_training(
        self, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
    ) -> int:
        # All blocks but the last are as the first.
        steps = len(order) if self.is_resident(augmentation) else _BLOCK
        for part in (slice(0, steps), slice(len(order) - len(order) % steps, None)):
            if not len(order[part]):
                continue
            some = None if augmentation is None else augmentation[part]
            for images, labels, rows, _ in self.blocks(order[part], some):
                self.program(images, labels, rows)
        return min(steps, len(order))

    def is_resident(self, augmentation: NDArray[np.int64] | None) -> bool:
        """Whether steps gather their images from a split on the device."""
        return self.split("train").in_memory and augmentation is None

    def blocks(
        self, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
    ) -> Iterator[tuple[ArrayLike, ArrayLike, NDArray[np.int64], slice]]:
        """Images, labels, the rows of them that each step takes, and which steps these are."""
        split = self.split("train")
        if self.is_resident(augmentation):
            if self.resident is None:
                held = split.all_images(), split.labels.astype(np.int32)
                self.resident = jax.device_put(held, self.device)
            yield *self.resident, order, slice(0, len(order))
            return
        for start in range(0, len(order), _BLOCK):
            steps = slice(start, start + _BLOCK)
            batches = stream(
                split, order[steps], None if augmentation is None else augmentation[steps]
            )
            images, labels = map(np.concatenate, zip(*batches, strict=True))
            rows = np.arange(len(images)).reshape(order[steps].shape)
            yield images, labels, rows, steps


class Bfloat16JaxBackend(JaxBackend):
    """The same step; the network computes in bfloat16.

    Weights and their update, what is computed of a batch's statistics, and the loss stay float32.

    Raises:
        BenchError: another precision is asked for.
    """

    network_precision = "bfloat16"

    def __init__(self, job: TrainingJob) -> None:
        if job.precision != "float32":
            raise BenchError(
                f"jax-bf16 computes in bfloat16 and cannot in {job.precision}: leave it out, "
                "or ask for --precision float32"
            )
        super().__init__(job)

    def facts(self) -> dict[str, str]:
        return super().facts() | {"network": "bfloat16"}


def find_device(name: str) -> jax.Device:
    """The processor, or the GPU with single precision left at its full 24 bits.

    Raises:
        BenchError: no GPU that JAX can use.
    """
    try:
        device = jax.devices(name)[0]
    except RuntimeError:
        raise BenchError(
            "JAX finds no GPU here: install a build of it for your GPU (docs.jax.dev says which), "
            "or leave --device gpu out"
        ) from None
    if name == "gpu":
        jax.config.update("jax_default_matmul_precision", "highest")
    return device


def binary_cross_entropy(
    logits: Array, labels: Array, positive_weights: NDArray[np.floating]
) -> Array:
    """Losses (B, L) of 0/1 ``labels``; positives count ``positive_weights`` (L,), or 1 if empty."""
    if not positive_weights.size:
        losses: Array = optax.sigmoid_binary_cross_entropy(logits, labels)
        return losses
    positives = jnp.asarray(positive_weights) * labels
    return -positives * nnx.log_sigmoid(logits) - (1 - labels) * nnx.log_sigmoid(-logits)


def make_optimizer(settings: Optimizer) -> optax.GradientTransformation:
    """The update rules of ``harness.protocol`` as optax has them, without the learning rate."""
    rule = (
        optax.trace(settings.momentum)
        if settings.name == "sgd"
        else optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon)
    )
    if not settings.weight_decay:
        return rule
    decay = optax.add_decayed_weights(settings.weight_decay)
    # AdamW's decay is of the weights alone; otherwise it is part of the gradient.
    return optax.chain(rule, decay) if settings.name == "adamw" else optax.chain(decay, rule)

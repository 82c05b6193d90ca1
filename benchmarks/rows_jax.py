"""JAX rows for the overhead and peer benchmarks: ours, a bare loop, the public style.

Run as a script, with JSON arguments; prints the seconds of every round, by row, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from harness.backends.base import Task
from harness.backends.jax.data import normalize
from harness.backends.jax.train import JaxBackend, SpaceToDepthJaxBackend
from harness.config import Optimizer
from harness.measure.turns import take_turns
from harness.models import find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights


def ours(
    backend: JaxBackend, model: str, order: np.ndarray, rates: np.ndarray
) -> Callable[[], object]:
    parameters = find_model(model).parameters(backend.data.image_shape, len(backend.data.classes))
    backend.load_weights(initial_weights(parameters, seed=0))
    return lambda: backend.train_epoch(order, rates)


def bare(backend: JaxBackend, order: np.ndarray, rates: np.ndarray) -> Callable[[], object]:
    """The backend's own step in a loop written by hand, on arrays in memory."""
    split = backend.data.split("train")
    images, labels = split.all_images(), split.labels.astype(np.int32)
    rates = rates.astype(np.float32)

    def epoch() -> None:
        state = backend.state
        for batch, rate in zip(order, rates, strict=True):
            state, _ = backend.jitted_step(state, images[batch], labels[batch], rate)
        backend.state = jax.block_until_ready(state)

    return epoch


def public(backend: JaxBackend, model: str, batch_size: int) -> Callable[[], object]:
    """The epoch loop of Flax's MNIST example, its tf.data pipeline replaced by NumPy slices."""
    split = backend.data.split("train")
    mean, std = jnp.asarray(backend.data.mean), jnp.asarray(backend.data.std)
    images = np.asarray(normalize(split.all_images(), mean, std))
    labels = split.labels.astype(np.int32)
    network = type(backend).networks["lenet5"](
        find_model(model),
        backend.data.image_shape,
        len(backend.data.classes),
        dtype=jnp.dtype("float32"),
    )
    optimizer = nnx.Optimizer(network, optax.sgd(0.01, 0.9), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))
    shuffle = np.random.default_rng(0)

    def loss_fn(model, batch):
        logits = model(batch["image"])
        loss = optax.softmax_cross_entropy_with_integer_labels(
            logits=logits, labels=batch["label"]
        ).mean()
        return loss, logits

    @nnx.jit
    def train_step(model, optimizer, metrics, batch):
        (loss, logits), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model, batch)
        metrics.update(loss=loss, logits=logits, labels=batch["label"])
        optimizer.update(model, grads)

    def train() -> None:
        order = shuffle.permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            batch = order[start : start + batch_size]
            train_step(
                network, optimizer, metrics, {"image": images[batch], "label": labels[batch]}
            )
        jax.block_until_ready(metrics.compute())
        jax.block_until_ready(nnx.state(network))
        metrics.reset()

    return train


def main(dataset: str, model: str, batch_size: int, threads: int, rounds: int, kind: str) -> None:
    task = Task(
        model=model,
        dataset=Path(dataset),
        optimizer=Optimizer(learning_rate=0.01),
        precision="float32",
        threads=threads,
    )
    plain, blocks = JaxBackend(task), SpaceToDepthJaxBackend(task)
    order = epoch_order(len(plain.data.split("train")), batch_size, seed=0, epoch=0)
    rates = np.full(len(order), 0.01)
    rows = {
        "jax": ours(plain, model, order, rates),
        "jax-s2d": ours(blocks, model, order, rates),
    }
    if kind == "overhead":
        rows["jax, bare"] = bare(plain, order, rates)
        rows["jax-s2d, bare"] = bare(blocks, order, rates)
    else:
        rows["jax, public style"] = public(plain, model, batch_size)
    print(json.dumps(take_turns(rows, rounds=rounds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

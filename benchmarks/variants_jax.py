"""JAX variants for the overhead and peer benchmarks: ours, a bare loop, the public style.

Run as a script, with JSON arguments; prints the seconds of every round, by variant, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from harness.backends.base import TrainingJob
from harness.backends.jax.data import normalize
from harness.backends.jax.train import JaxBackend, SpaceToDepthJaxBackend
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.measure.interleave import interleave
from harness.plugins import find_backend, find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights


def ours(
    backend: JaxBackend, model: str, order: np.ndarray, rates: np.ndarray
) -> Callable[[], object]:
    parameters = find_model(model).parameters(backend.data.image_shape, len(backend.data.classes))
    backend.load_weights(initial_weights(parameters, seed=0))
    return lambda: backend.train_epoch(order, rates)


def from_disk(task: TrainingJob) -> JaxBackend:
    """A backend that has no memory for the images."""
    backend = JaxBackend(task)
    backend.data = open_dataset(task.dataset, memory_budget=0)
    return backend


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


class PublicDenseLayer(nnx.Module):
    """A layer as Flax ports of torchvision's DenseNet write it."""

    def __init__(self, inputs: int, rngs: nnx.Rngs) -> None:
        self.norm1 = nnx.BatchNorm(inputs, momentum=0.9, rngs=rngs)
        self.conv1 = nnx.Conv(inputs, 128, kernel_size=(1, 1), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(128, momentum=0.9, rngs=rngs)
        self.conv2 = nnx.Conv(128, 32, kernel_size=(3, 3), padding=1, use_bias=False, rngs=rngs)

    def __call__(self, x):
        y = self.conv1(nnx.relu(self.norm1(x)))
        y = self.conv2(nnx.relu(self.norm2(y)))
        return jnp.concatenate([x, y], axis=-1)


class PublicTransition(nnx.Module):
    def __init__(self, inputs: int, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(inputs, momentum=0.9, rngs=rngs)
        self.conv = nnx.Conv(inputs, inputs // 2, kernel_size=(1, 1), use_bias=False, rngs=rngs)

    def __call__(self, x):
        return nnx.avg_pool(self.conv(nnx.relu(self.norm(x))), (2, 2), strides=(2, 2))


class PublicDenseNet121(nnx.Module):
    def __init__(self, channels: int, classes: int, rngs: nnx.Rngs) -> None:
        self.conv0 = nnx.Conv(
            channels, 64, kernel_size=(7, 7), strides=2, padding=3, use_bias=False, rngs=rngs
        )
        self.norm0 = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
        layers, width = [], 64
        for place, count in enumerate((6, 12, 24, 16)):
            if place:
                layers.append(PublicTransition(width, rngs))
                width //= 2
            layers += [PublicDenseLayer(width + 32 * i, rngs) for i in range(count)]
            width += 32 * count
        self.layers = nnx.Sequential(*layers)
        self.norm5 = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.classifier = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm0(self.conv0(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        x = nnx.relu(self.norm5(self.layers(x)))
        return self.classifier(x.mean(axis=(1, 2)))


def public(backend: JaxBackend, model: str, batch_size: int) -> Callable[[], object]:
    """The epoch loop of Flax's MNIST example, its tf.data pipeline replaced by NumPy slices.

    The network is laid out as Flax's examples or ports of torchvision do it.
    """
    split = backend.data.split("train")
    mean, std = jnp.asarray(backend.data.mean), jnp.asarray(backend.data.std)
    images = np.asarray(normalize(split.all_images(), mean, std))
    labels = split.labels.astype(np.int32)
    shape, classes = backend.data.image_shape, len(backend.data.classes)
    network: nnx.Module
    if model == "densenet121":
        network = PublicDenseNet121(shape[0], classes, nnx.Rngs(0))
    else:
        card = find_model(model)
        network = importlib.import_module(f"{card.package}.jax").NETWORK(
            card, shape, classes, dtype=jnp.dtype("float32")
        )
    optimizer = nnx.Optimizer(network, optax.sgd(0.01, 0.9), wrt=nnx.Param)
    several = backend.data.task == "multilabel"
    accuracy = nnx.metrics.Accuracy(threshold=0.5 if several else None)
    metrics = nnx.MultiMetric(accuracy=accuracy, loss=nnx.metrics.Average("loss"))
    shuffle = np.random.default_rng(0)

    def loss_fn(model, batch):
        logits = model(batch["image"])
        cross_entropy = (
            optax.sigmoid_binary_cross_entropy
            if several
            else optax.softmax_cross_entropy_with_integer_labels
        )
        return cross_entropy(logits, batch["label"]).mean(), logits

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
    card = find_model(model)
    task = TrainingJob(
        model=model,
        dataset=Path(dataset),
        optimizer=Optimizer(learning_rate=0.01),
        precision="float32",
        threads=threads,
        network=find_backend("jax").find_network(card) or "",
    )
    plain = JaxBackend(task)
    order = epoch_order(len(plain.data.split("train")), batch_size, seed=0, epoch=0)
    rates = np.full(len(order), 0.01)
    variants = {"jax": ours(plain, model, order, rates)}
    if kind == "feeding":
        variants["jax, from memory"] = variants["jax"]
        variants["jax"] = ours(from_disk(task), model, order, rates)
        print(json.dumps(interleave(variants, rounds=rounds)))
        return
    blocks = SpaceToDepthJaxBackend(
        replace(task, network=find_backend("jax-s2d").find_network(card) or "")
    )
    variants["jax-s2d"] = ours(blocks, model, order, rates)
    if kind == "overhead":
        variants["jax, bare"] = bare(plain, order, rates)
        variants["jax-s2d, bare"] = bare(blocks, order, rates)
    else:
        variants["jax, public style"] = public(plain, model, batch_size)
    print(json.dumps(interleave(variants, rounds=rounds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

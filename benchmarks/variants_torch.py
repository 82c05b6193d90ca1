"""PyTorch variants for the overhead and peer benchmarks: ours, a bare loop, the public style.

Run as a script, with JSON arguments; prints the seconds of every round, by variant, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision_style import DenseNet121

from harness.backends.base import TrainingJob
from harness.backends.torch.data import normalize
from harness.backends.torch.train import CompiledTorchBackend, TorchBackend
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.measure.interleave import interleave
from harness.plugins import find_backend, find_model
from harness.protocol.order import epoch_order
from harness.protocol.weights import initial_weights


def ours(backend: TorchBackend, order: np.ndarray, rates: np.ndarray) -> Callable[[], object]:
    card = find_model(backend.job.model)
    parameters = card.parameters(backend.data.image_shape, len(backend.data.classes))
    backend.load_weights(initial_weights(parameters, seed=0))
    return lambda: backend.train_epoch(order, rates)


def from_disk(task: TrainingJob) -> TorchBackend:
    """A backend that has no memory for the images."""
    backend = TorchBackend(task)
    backend.data = open_dataset(task.dataset, memory_budget=0)
    return backend


def bare(backend: TorchBackend, order: np.ndarray, rates: np.ndarray) -> Callable[[], object]:
    """The backend's own step in a loop written by hand, on tensors in memory."""
    split = backend.data.split("train")
    images, labels = torch.from_numpy(split.all_images()), torch.from_numpy(split.labels).long()
    batches = torch.from_numpy(order)

    def epoch() -> None:
        optimizer = backend.optimizer
        for batch, rate in zip(batches, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = backend.compute_loss(images[batch], labels[batch])
            loss.backward()
            optimizer.step()

    return epoch


def public(task: TrainingJob, backend: TorchBackend, batch_size: int) -> Callable[[], object]:
    """A DataLoader over tensors and an eager loop, in the style of pytorch/examples' MNIST.

    The network is laid out as PyTorch's tutorials or torchvision do it.
    """
    split = backend.data.split("train")
    images = normalize(torch.from_numpy(split.all_images()), backend.mean, backend.std)
    labels = torch.from_numpy(split.labels)
    targets = labels.float() if backend.data.task == "multilabel" else labels.long()
    dataset = TensorDataset(images, targets)
    train_loader = DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    shape, classes = backend.data.image_shape, len(backend.data.classes)
    if task.model == "densenet121":
        model: nn.Module = DenseNet121(shape[0], classes)
    else:
        card = find_model(task.model)
        model = importlib.import_module(f"{card.package}.torch").NETWORK(card, shape, classes)
    criterion = nn.CrossEntropyLoss()
    if backend.data.task == "multilabel":
        criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    device = torch.device("cpu")
    log = Path("/dev/null").open("w")  # noqa: SIM115 - lives as long as the process

    def train() -> None:
        model.train()
        for batch_idx, (data, target) in enumerate(train_loader):
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            loss.backward()
            optimizer.step()
            if batch_idx % 10 == 0:
                print(f"{batch_idx * len(data)} loss: {loss.item():.6f}", file=log)

    return train


def main(dataset: str, model: str, batch_size: int, threads: int, rounds: int, kind: str) -> None:
    card = find_model(model)
    task = TrainingJob(
        model=model,
        dataset=Path(dataset),
        optimizer=Optimizer(learning_rate=0.01),
        precision="float32",
        threads=threads,
        network=find_backend("torch").find_network(card) or "",
    )
    eager = TorchBackend(task)
    order = epoch_order(len(eager.data.split("train")), batch_size, seed=0, epoch=0)
    rates = np.full(len(order), 0.01)
    variants = {"torch": ours(eager, order, rates)}
    if kind == "feeding":
        variants["torch, from memory"] = variants["torch"]
        variants["torch"] = ours(from_disk(task), order, rates)
        print(json.dumps(interleave(variants, rounds=rounds)))
        return
    compiled = CompiledTorchBackend(
        replace(task, network=find_backend("torch-compile").find_network(card) or "")
    )
    variants["torch-compile"] = ours(compiled, order, rates)
    if kind == "overhead":
        variants["torch, bare"] = bare(eager, order, rates)
        variants["torch-compile, bare"] = bare(compiled, order, rates)
    else:
        variants["torch, public style"] = public(task, eager, batch_size)
    print(json.dumps(interleave(variants, rounds=rounds)))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))

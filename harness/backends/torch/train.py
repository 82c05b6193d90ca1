"""Training in PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.backends.base import EVALUATION_BATCH, Backend, Task
from harness.backends.torch.data import H5Dataset, loader, normalize
from harness.backends.torch.models import COMPILED_NETWORKS, NETWORKS
from harness.backends.torch.models.lenet5 import LeNet5
from harness.config import Optimizer
from harness.data.hdf5 import open_dataset
from harness.models import find_model
from harness.protocol.weights import Weights


class TorchBackend(Backend):
    """Eager PyTorch on the CPU."""

    networks: Mapping[str, type[LeNet5]] = NETWORKS

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.threads)
        self.task = task
        self.dtype = getattr(torch, task.precision)
        self.data = open_dataset(task.dataset)
        self.datasets: dict[str, H5Dataset] = {}
        self.mean = torch.tensor(self.data.mean, dtype=self.dtype).reshape(-1, 1, 1)
        self.std = torch.tensor(self.data.std, dtype=self.dtype).reshape(-1, 1, 1)
        card = find_model(task.model)
        network = self.networks[card.module]
        model = network(card, self.data.image_shape, len(self.data.classes))
        self.model: nn.Module = model.to(self.dtype)
        self.optimizer = make_optimizer(self.model, task.optimizer)
        self.compute_logits: Callable[[Tensor], Tensor] = self.forward
        self.compute_loss: Callable[[Tensor, Tensor], Tensor] = self.loss

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        self.model.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
        self.optimizer = make_optimizer(self.model, self.task.optimizer)

    def save_weights(self) -> Weights:
        return {name: p.numpy().copy() for name, p in self.model.state_dict().items()}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(normalize(images, self.mean, self.std))
        return logits

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.forward(images)
        if self.data.task == "multilabel":
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return F.cross_entropy(logits, labels)

    def train_epoch(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        self.model.train()
        losses = torch.empty(len(order), dtype=self.dtype)
        batches = loader(self.dataset("train"), order)
        for step, ((images, labels), rate) in enumerate(zip(batches, rates.tolist(), strict=True)):
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.zero_grad()
            loss = self.compute_loss(images, labels)
            loss.backward()
            self.optimizer.step()
            losses[step] = loss.detach()
        return losses.double().numpy()

    @torch.inference_mode()
    def predict(self, split: str) -> NDArray[np.floating]:
        self.model.eval()
        dataset = self.dataset(split)
        batches = np.array_split(
            np.arange(len(dataset)), range(EVALUATION_BATCH, len(dataset), EVALUATION_BATCH)
        )
        logits = [self.compute_logits(images) for images, _ in loader(dataset, batches)]
        return torch.cat(logits).numpy()

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        self.model.train()
        self.model.zero_grad()
        images, labels = self.dataset("train")[batch]
        logits = self.compute_logits(images)
        loss = self.compute_loss(images, labels)
        loss.backward()
        gradients = {
            name: parameter.grad.numpy().copy()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }
        return logits.detach().numpy(), loss.item(), gradients

    def facts(self) -> dict[str, str]:
        return {
            "torch": torch.__version__,
            "threads": str(torch.get_num_threads()),
            "device": "cpu",
            "CPU capability": torch.backends.cpu.get_cpu_capability(),
            "oneDNN": str(torch.backends.mkldnn.is_available()),
            "MKL": str(torch.backends.mkl.is_available()),
        }

    def dataset(self, split: str) -> H5Dataset:
        if split not in self.datasets:
            self.datasets[split] = H5Dataset(self.data.split(split))
        return self.datasets[split]


class CompiledTorchBackend(TorchBackend):
    """The same, with forward and loss through ``torch.compile`` (its backward comes along).

    Weights and feature maps are channels-last, the layout that PyTorch recommends on the CPU.
    """

    networks = COMPILED_NETWORKS

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.compute_logits = torch.compile(self.forward, dynamic=False)
        self.compute_loss = torch.compile(self.loss, dynamic=False)

    def facts(self) -> dict[str, str]:
        return super().facts() | {"torch.compile": "inductor, dynamic=False, channels-last"}


def make_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """The update rules of ``harness.protocol`` as PyTorch has them."""
    parameters = list(model.parameters())
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    return torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )

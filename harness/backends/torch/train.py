"""Training in PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.backends.base import (
    Backend,
    TrainingJob,
    evaluation_batches,
    evaluation_shapes,
    load_network,
)
from harness.backends.torch.data import H5Dataset, augment, loader, normalize
from harness.backends.torch.profiler import seconds_by_operation
from harness.config import Optimizer
from harness.data.reader import open_dataset
from harness.errors import BenchError
from harness.measure.operations import Operation
from harness.plugins import find_model
from harness.protocol.optimizer import OptimizerState
from harness.protocol.received import images_digest
from harness.protocol.weights import Weights


class TorchBackend(Backend):
    """Eager PyTorch."""

    @classmethod
    def check(cls, device: str) -> None:
        find_device(device)

    def __init__(self, job: TrainingJob) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        self.device = find_device(job.device)
        self.dtype = getattr(torch, job.precision)
        self.data = open_dataset(job.dataset, job.memory_budget)
        self.datasets: dict[str, H5Dataset] = {}
        self.mean = self.tensor(self.data.mean).reshape(-1, 1, 1)
        self.std = self.tensor(self.data.std).reshape(-1, 1, 1)
        self.positive_weights = self.tensor(job.positive_weights) if job.positive_weights else None
        card = find_model(job.model)
        network = load_network(job)
        model = network(card, self.data.image_shape, len(self.data.classes))
        self.model = model.to(self.device, self.dtype)
        self.model.to(memory_format=model.memory_format)
        self.optimizer = make_optimizer(self.model, job.optimizer)
        self.compute_logits: Callable[[Tensor], Tensor] = self.forward
        self.compute_loss: Callable[[Tensor, Tensor], Tensor] = self.loss

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        with torch.no_grad():
            for name, held in self.state().items():
                held.copy_(torch.tensor(weights[name]))
        self.optimizer = make_optimizer(self.model, self.job.optimizer)

    def save_weights(self) -> Weights:
        return {name: to_numpy(held) for name, held in self.state().items()}

    def save_optimizer(self) -> OptimizerState:
        slots: dict[str, Weights] = {slot: {} for slot in self.slots()}
        steps = 0
        for name, parameter in self.model.named_parameters():
            held = self.optimizer.state.get(parameter, {})
            steps = int(held.get("step", 0))
            for slot, key in self.slots().items():
                value = held.get(key)  # there is none before the first step
                slots[slot][name] = to_numpy(
                    torch.zeros_like(parameter) if value is None else value
                )
        return OptimizerState(slots, steps)

    def load_optimizer(self, state: OptimizerState) -> None:
        counts = self.job.optimizer.name != "sgd"
        for name, parameter in self.model.named_parameters():
            held = self.optimizer.state[parameter]
            if counts:
                held["step"] = torch.tensor(float(state.steps), device=self.device)
            for slot, key in self.slots().items():
                # In the memory format of the parameter, as the optimiser itself makes them.
                held[key] = torch.empty_like(parameter, requires_grad=False)
                held[key].copy_(torch.tensor(state.slots[slot][name]))

    def slots(self) -> dict[str, str]:
        """What the optimiser keeps of a parameter: the protocol's names and PyTorch's."""
        if self.job.optimizer.name == "sgd":
            return {"velocity": "momentum_buffer"}
        return {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}

    def state(self) -> dict[str, Tensor]:
        """Parameters and running statistics by name."""
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(normalize(images, self.mean, self.std))
        return logits

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.forward(images)
        if self.data.task == "multilabel":
            return F.binary_cross_entropy_with_logits(
                logits, labels.to(logits.dtype), pos_weight=self.positive_weights
            )
        return F.cross_entropy(logits, labels)

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        self.model.train()
        losses = torch.empty(len(order), dtype=self.dtype, device=self.device)
        batches = loader(self.dataset("train"), order)
        for step, ((images, labels), rate) in enumerate(zip(batches, rates.tolist(), strict=True)):
            self.optimizer.param_groups[0]["lr"] = rate
            if augmentation is not None:
                images = augment(images, torch.from_numpy(augmentation[step]))
            self.optimizer.zero_grad()
            loss = self.compute_loss(images.to(self.device), labels.to(self.device))
            loss.backward()
            self.optimizer.step()
            losses[step] = loss.detach()
        if self.device.type == "cuda":  # the clock may be read only when the GPU has finished
            torch.cuda.synchronize()
        return losses.double().numpy(force=True)

    def images_digest(self, split: str, rows: NDArray[np.int64]) -> str:
        images, labels = self.dataset(split)[rows]
        return images_digest(images.numpy(), labels.numpy())

    def predict(self, split: str) -> NDArray[np.floating]:
        return self.evaluate(split, evaluation_batches(len(self.dataset(split))))

    def warm_up_prediction(self, split: str) -> None:
        self.evaluate(split, evaluation_shapes(len(self.dataset(split))))

    @torch.inference_mode()
    def evaluate(self, split: str, batches: Iterable[NDArray[np.int64]]) -> NDArray[np.floating]:
        """Logits of the examples in ``batches``."""
        self.model.eval()
        images = (images.to(self.device) for images, _ in loader(self.dataset(split), batches))
        return torch.cat([self.compute_logits(batch) for batch in images]).numpy(force=True)

    @torch.inference_mode()
    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        self.model.eval()
        logits = self.compute_logits(torch.from_numpy(images).to(self.device))
        return logits.numpy(force=True)

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        self.train_epoch(order[:1], rates[:1])  # what is done once, such as choosing kernels
        return seconds_by_operation(lambda: self.train_epoch(order, rates), self.device)

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        images, labels = (part.to(self.device) for part in self.dataset("train")[batch])
        self.model.eval()
        with torch.no_grad():
            logits = self.compute_logits(images)
        self.model.train()
        self.model.zero_grad()
        statistics = {name: held.clone() for name, held in self.model.named_buffers()}
        loss = self.compute_loss(images, labels)
        loss.backward()
        for name, held in self.model.named_buffers():
            held.copy_(statistics[name])
        gradients = {
            name: to_numpy(parameter.grad)
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }
        return to_numpy(logits), loss.item(), gradients

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        self.model.eval()
        images = normalize(self.dataset(split)[rows][0].to(self.device), self.mean, self.std)
        with torch.no_grad():
            maps = self.model.features(images)
        maps.requires_grad_()
        logits = self.model.classify(maps)
        chosen = logits[torch.arange(len(rows)), torch.from_numpy(outputs)].sum()
        (gradient,) = torch.autograd.grad(chosen, maps)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        return to_numpy(F.relu((weights * maps).sum(dim=1)).to(self.dtype))

    def facts(self) -> dict[str, str]:
        return {
            "torch": str(torch.__version__),
            "threads": str(torch.get_num_threads()),
            "device": self.device_name(),
            "CPU capability": torch.backends.cpu.get_cpu_capability(),
            "oneDNN": str(torch.backends.mkldnn.is_available()),
            "MKL": str(torch.backends.mkl.is_available()),
        }

    def device_name(self) -> str:
        return "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    def tensor(self, values: Sequence[float] | NDArray[np.floating]) -> Tensor:
        return torch.tensor(values, dtype=self.dtype, device=self.device)

    def dataset(self, split: str) -> H5Dataset:
        if split not in self.datasets:
            self.datasets[split] = H5Dataset(self.data.split(split))
        return self.datasets[split]


class CompiledTorchBackend(TorchBackend):
    """The same, with forward and loss through ``torch.compile`` (its backward comes along).

    Weights and feature maps are channels-last, the layout that PyTorch recommends on the CPU.
    """

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(job)
        self.model.to(memory_format=torch.channels_last)
        # Each batch size of inference is compiled by itself; beyond the usual 8 it would run eager.
        torch._dynamo.config.recompile_limit = 64
        self.compiled = 0
        self.count_compilations()
        self.compute_logits = torch.compile(self.forward, dynamic=False)
        self.compute_loss = torch.compile(self.loss, dynamic=False)

    def count_compilations(self) -> None:
        """Have Dynamo report every graph that it compiles, backward graphs included."""

        def started(_: object) -> None:
            self.compiled += 1

        torch._dynamo.callback.on_compile_start(started)

    def compilations(self) -> int:
        return self.compiled

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        torch._dynamo.reset()
        self.count_compilations()  # the reset has removed its callback
        # Compiled anew, so that each kernel tells the profiler what it is; others need not.
        with torch._inductor.config.patch({"cpp.enable_kernel_profile": True}):
            return super().profile(order, rates)

    def facts(self) -> dict[str, str]:
        return super().facts() | {"torch.compile": "inductor, dynamic=False, channels-last"}


class ChannelsLastTorchBackend(TorchBackend):
    """Eager, with weights channels-last; the feature maps follow them."""

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(job)
        self.model.to(memory_format=torch.channels_last)

    def facts(self) -> dict[str, str]:
        return super().facts() | {"memory format": "channels-last"}


class Bfloat16TorchBackend(CompiledTorchBackend):
    """Compiled, its convolutions and matrix products in bfloat16 where autocast chooses so.

    Weights, update and loss are float32.

    Raises:
        BenchError: another precision is asked for.
    """

    def __init__(self, job: TrainingJob) -> None:
        if job.precision != "float32":
            raise BenchError(
                f"torch-bf16 computes in bfloat16 and cannot in {job.precision}: leave it out, "
                "or ask for --precision float32"
            )
        super().__init__(job)

    def forward(self, images: Tensor) -> Tensor:
        with self.autocast():
            logits = super().forward(images)
        return logits.float()

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        with self.autocast():
            return super().activation_maps(split, rows, outputs)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

    def facts(self) -> dict[str, str]:
        return super().facts() | {"autocast": "bfloat16"}


def find_device(name: str) -> torch.device:
    """The processor, or the GPU with single precision left at its full 24 bits.

    Raises:
        BenchError: no GPU that PyTorch can use.
    """
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BenchError(
            "PyTorch finds no GPU here: install a build of it for your GPU (pytorch.org says "
            "which), or leave --device gpu out"
        )
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def to_numpy(tensor: Tensor) -> NDArray[np.floating]:
    """A copy, on the processor."""
    return tensor.numpy(force=True).copy()


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
    rule = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return rule(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )

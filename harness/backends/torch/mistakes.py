"""PyTorch's backend with one known mistake made on purpose: see ``harness.parity.mistakes``.

Operations of the network are altered where they are called, by a ``TorchFunctionMode``: the
network itself stays the one that is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from harness.backends.base import EVALUATION_BATCH, Task
from harness.backends.torch.data import augment, normalize
from harness.backends.torch.network import Network
from harness.backends.torch.train import TorchBackend, to_numpy
from harness.config import Optimizer
from harness.parity.mistakes import KINDS, SITED, Mistake, MistakenTask
from harness.protocol.weights import Weights

Operation = Callable[..., Tensor]

# --- Layers: each takes the arguments of the function in whose place it is called ----------------


def same_padding(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, *rest: Any) -> Tensor:
    """As TensorFlow and XLA have it: where the sum is odd, the end gets one more."""
    sides = zip(x.shape[2:], weight.shape[2:], stride, strict=True)
    sums = [max((-(-side // step) - 1) * step + kernel - side, 0) for side, kernel, step in sides]
    rows, columns = ((total // 2, total - total // 2) for total in sums)
    return F.conv2d(F.pad(x, (*columns, *rows)), weight, bias, stride)


def one_sided(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, *rest: Any,
              before: bool) -> Tensor:  # fmt: skip
    rows, columns = ((2 * p, 0) if before else (0, 2 * p) for p in padding)
    return F.conv2d(F.pad(x, (*columns, *rows)), weight, bias, stride)


def padded(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, *rest: Any,
           mode: str) -> Tensor:  # fmt: skip
    rows, columns = ((p, p) for p in padding)
    return F.conv2d(F.pad(x, (*columns, *rows), mode=mode), weight, bias, stride)


def shifted_stride(x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, *_: Any
                   ) -> Tensor:  # fmt: skip
    whole = F.conv2d(x, weight, bias, 1, padding)
    return whole[:, :, stride[0] - 1 :: stride[0], stride[1] - 1 :: stride[1]]


def with_kernel(change: Callable[[Tensor], Tensor]) -> Operation:
    return lambda x, weight, *rest: F.conv2d(x, change(weight), *rest)


CONVOLUTION: Mapping[str, Operation] = {
    "kernel flipped": with_kernel(lambda weight: weight.flip(2, 3)),
    "kernel transposed": with_kernel(lambda weight: weight.transpose(2, 3)),
    "kernel channels swapped": with_kernel(lambda weight: weight.transpose(0, 1)),
    "no convolution bias": lambda x, weight, bias, *rest: F.conv2d(x, weight, None, *rest),
    "convolution bias twice": lambda x, weight, bias, *rest: F.conv2d(x, weight, 2 * bias, *rest),
    "padding SAME": same_padding,
    "padding before": partial(one_sided, before=True),
    "padding behind": partial(one_sided, before=False),
    "padding mirrored": partial(padded, mode="reflect"),
    "padding repeated": partial(padded, mode="replicate"),
    "padding around": partial(padded, mode="circular"),
    "stride left out": lambda x, w, b, stride, *rest: F.conv2d(x, w, b, 1, *rest),
    "stride from the second pixel": shifted_stride,
}


def scaled(x: Tensor, mean: Tensor, divisor: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``(x - mean) / divisor * weight + bias``, all of them (C,)."""
    shaped = (part.reshape(1, -1, 1, 1) for part in (mean, divisor, weight, bias))
    mean, divisor, weight, bias = shaped
    return (x - mean) / divisor * weight + bias


def statistics(x: Tensor, *, biased: bool = True) -> tuple[Tensor, Tensor]:
    return x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0 if biased else 1)


def epsilon_outside(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    if training:
        F.batch_norm(x.detach(), mean, var, weight, bias, True, momentum, eps)
        mean, var = statistics(x)
    return scaled(x, mean, var.sqrt() + eps, weight, bias)


def other_statistics(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float, *, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:  # fmt: skip
    """What is normalised by in training; the running statistics are right."""
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps)
    F.batch_norm(x.detach(), mean, var, weight, bias, True, momentum, eps)
    batch, deviations = change(*statistics(x))
    return scaled(x, batch, (deviations + eps).sqrt(), weight, bias)


def unbiased(x: Tensor, *rest: Any) -> Tensor:
    count = x.numel() // x.shape[1]
    return other_statistics(x, *rest, change=lambda mean, var: (mean, var * count / (count - 1)))


def running(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float, *, take: float = 0.1, biased: bool = False, root: bool = False,
) -> Tensor:  # fmt: skip
    """Other running statistics; what is normalised by is right."""
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps)
    with torch.no_grad():
        new_mean, new_var = statistics(x, biased=biased)
        mean.lerp_(new_mean, take)
        var.lerp_(new_var.sqrt() if root else new_var, take)
    return F.batch_norm(x, None, None, weight, bias, True, momentum, eps)


def each_image(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps)
    return F.instance_norm(x, mean, var, weight, bias, True, momentum, eps)


def running_in_training(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps)


def batch_in_evaluation(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    if training:
        return F.batch_norm(x, mean, var, weight, bias, True, momentum, eps)
    return F.batch_norm(x, None, None, weight, bias, True, momentum, eps)


def with_epsilon(value: float) -> Operation:
    return lambda x, mean, var, weight, bias, training, momentum, eps: F.batch_norm(
        x, mean, var, weight, bias, training, momentum, value
    )


NORMALISATION: Mapping[str, Operation] = {
    "epsilon 1e-3": with_epsilon(1e-3),
    "epsilon 1e-4": with_epsilon(1e-4),
    "epsilon 1e-6": with_epsilon(1e-6),
    "epsilon 0": with_epsilon(0.0),
    "epsilon outside": epsilon_outside,
    "batch statistics in evaluation": batch_in_evaluation,
    "running statistics in training": running_in_training,
    "statistics of each image": each_image,
    "unbiased normalisation": unbiased,
    "no scale": lambda x, mean, var, weight, bias, *rest: F.batch_norm(
        x, mean, var, None, bias, *rest
    ),
    "no shift": lambda x, mean, var, weight, bias, *rest: F.batch_norm(
        x, mean, var, weight, None, *rest
    ),
    "statistics without gradient": partial(
        other_statistics, change=lambda mean, var: (mean.detach(), var.detach())
    ),
    "biased running variance": partial(running, biased=True),
    "momentum swapped": partial(running, take=0.9),
    "momentum 0.99": partial(running, take=0.01),
    "momentum 0.99, biased": partial(running, take=0.01, biased=True),
    "momentum fitted": running,
    "statistics frozen": partial(running, take=0.0),
    "running deviation": partial(running, root=True),
}


ACTIVATION: Mapping[str, Callable[[Tensor], Tensor]] = {
    "no activation": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leaky relu": partial(F.leaky_relu, negative_slope=0.01),
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "scaled tanh": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
    "hard tanh": F.hardtanh,
}


def _nearly_largest(x: Tensor, window: int, stride: int, padding: int) -> Tensor:
    """Max pooling whose gradient goes to the first value nearly equal to the largest.

    As in NNlib.jl on a CPU (``y ≈ x`` in ``src/impl/pooling_direct.jl``, releases 0.7 and 0.8):
    nearly equal is Julia's ``isapprox``, to the square root of the precision, relative to the
    largest.
    """
    padded = F.pad(x, [padding] * 4, value=-torch.inf)
    windows = padded.unfold(2, window, stride).unfold(3, window, stride).flatten(4)
    largest = windows.detach().amax(dim=4, keepdim=True)
    bound = torch.finfo(x.dtype).eps ** 0.5 * largest.abs()
    first = ((windows - largest).abs() <= bound).int().argmax(dim=4, keepdim=True)
    chosen = windows.gather(4, first)
    return (chosen + (largest - chosen).detach()).squeeze(4)


# Of pooling: x, window, stride and padding.
POOLING: Mapping[str, Callable[[Tensor, int, int, int], Tensor]] = {
    "average for largest": partial(F.avg_pool2d, count_include_pad=False),
    "largest for average": F.max_pool2d,
    "padding of zeros": lambda x, window, stride, padding: F.max_pool2d(
        F.pad(x, [padding] * 4), window, stride
    ),
    "nearly largest": _nearly_largest,
    "sums": lambda x, window, stride, padding: window**2 * F.avg_pool2d(x, window, stride, padding),
    "every other pixel": lambda x, window, stride, padding: F.max_pool2d(x, 1, stride),
    "pooling left out": lambda x, window, stride, padding: x,
}

AVERAGE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum of the image": lambda x: x.sum(dim=(2, 3)),
    "largest of the image": lambda x: x.amax(dim=(2, 3)),
}
FLATTEN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.permute(0, 2, 3, 1).flatten(1),
    "column-major": lambda x: x.permute(0, 3, 2, 1).flatten(1),
    "width before height": lambda x: x.permute(0, 1, 3, 2).flatten(1),
}
DENSE: Mapping[str, Operation] = {
    "no dense bias": lambda x, weight, bias: F.linear(x, weight),
    "dense bias twice": lambda x, weight, bias: F.linear(x, weight, 2 * bias),
    "dense transposed": lambda x, weight, bias: F.linear(x, weight.T, bias),
}
CALLS = {
    "conv2d": "convolution",
    "batch_norm": "normalisation",
    "linear": "dense",
    "relu": "activation",
    "tanh": "activation",
    "max_pool2d": "pooling",
    "avg_pool2d": "pooling",
    "flatten": "flatten",
    "mean": "average",
    "add_": "join",
    "cat": "join",
}
"""Names of PyTorch's functions, as the mode sees them, and the operations that they are."""


class Altered(TorchFunctionMode):
    """Alters the operations of a network that ``mistake`` is about, and notes where each is.

    What has no weights is called after the last layer before it that has some.
    """

    def __init__(self, model: Network, mistake: Mistake) -> None:
        super().__init__()
        self.kind, self.layers, self.amount = mistake.kind, mistake.layers, mistake.amount
        self.operation = KINDS[self.kind].operation if self.kind else ""
        self.names = {
            id(parameter): name.rpartition(".")[0] for name, parameter in model.named_parameters()
        }
        self.last = "the image"
        self.sites: dict[str, list[str]] = {}

    def __enter__(self) -> Any:
        self.last = "the image"
        self.sites = {}
        return super().__enter__()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = CALLS.get(getattr(func, "__name__", ""))
        if operation is None:
            return func(*args, **kwargs)
        if operation in ("convolution", "dense"):
            self.last = self.names[id(args[1])]
        elif operation == "normalisation":
            self.last = self.names[id(kwargs["weight"])]
        site = self.last
        sites = self.sites.setdefault(operation, [])
        if again := sum(found == site or found.startswith(f"{site} (") for found in sites):
            site += f" ({again + 1})"
        sites.append(site)
        if self.operation != operation or (self.layers and site not in self.layers):
            return func(*args, **kwargs)
        return self.alter(func, args, kwargs)

    def alter(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        kind, operation = self.kind, self.operation
        if operation == "convolution":
            return CONVOLUTION[kind](*args)
        if operation == "normalisation":
            names = ("weight", "bias", "training", "momentum", "eps")
            change = NORMALISATION[kind]
            if kind == "momentum fitted":
                change = partial(running, take=self.amount)
            return change(*args, *(kwargs[name] for name in names))
        if operation == "activation":
            return ACTIVATION[kind](args[0])
        if operation == "pooling":
            return self.pool(func, args, kwargs)
        if operation == "average":
            return AVERAGE[kind](args[0])
        if operation == "flatten":
            return FLATTEN[kind](args[0])
        if operation == "join":
            if kind == "no join":
                return args[0] if func.__name__ == "add_" else args[0][-1]
            swapped = args if func.__name__ == "add_" else (args[0][::-1], *args[1:])
            return func(*swapped, **kwargs)
        return DENSE[kind](*args)

    def pool(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        given = dict(zip(("kernel_size", "stride", "padding"), args[1:4], strict=False)) | kwargs
        window, padding = given["kernel_size"], given.get("padding", 0)
        stride = given.get("stride") or window
        largest = func.__name__ == "max_pool2d"
        if self.kind == "pooling SAME":
            if largest:
                return F.max_pool2d(args[0], window, stride, padding, ceil_mode=True)
            return F.avg_pool2d(args[0], window, stride, padding, True, False)
        unlike = {
            "largest for average": not largest,
            "average for largest": largest,
            "padding of zeros": largest and padding,
            "nearly largest": largest,
        }
        if not unlike.get(self.kind, True):
            return func(*args, **kwargs)
        return POOLING[self.kind](args[0], window, stride, padding)


# --- What is fed in -------------------------------------------------------------------------------

PIXELS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "not divided by 255": lambda x, mean, std: (x - mean) / std,
    "mean not subtracted": lambda x, mean, std: x / 255 / std,
    "std not applied": lambda x, mean, std: x / 255 - mean,
    "neither mean nor std": lambda x, mean, std: x / 255,
    "divided by the variance": lambda x, mean, std: (x / 255 - mean) / std**2,
    "minus one to one": lambda x, mean, std: x / 127.5 - 1,
    "mean before 255": lambda x, mean, std: (x - mean) / std / 255,
    "divided by 256": lambda x, mean, std: (x / 256 - mean) / std,
    "rows and columns swapped": lambda x, mean, std: ((x / 255 - mean) / std).transpose(2, 3),
    "mirrored": lambda x, mean, std: ((x / 255 - mean) / std).flip(3),
    "upside down": lambda x, mean, std: ((x / 255 - mean) / std).flip(2),
    "channels reversed": lambda x, mean, std: ((x / 255 - mean) / std).flip(1),
}
ROWS: Mapping[str, Callable[[NDArray[np.int64], int], NDArray[np.int64]]] = {
    "rows one too far": lambda rows, count: np.minimum(rows + 1, count - 1),
    "rows one too low": lambda rows, count: np.maximum(rows - 1, 0),
    "first rows": lambda rows, count: np.arange(rows.shape[-1]) + np.zeros_like(rows),
}
LABELS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "labels one up": lambda y, classes: (y + 1) % classes if y.ndim == 1 else y.roll(1, 1),
    "labels one down": lambda y, classes: (y - 1) % classes if y.ndim == 1 else y.roll(-1, 1),
    "labels of the neighbour": lambda y, classes: y.roll(-1, 0),
    "labels backwards": lambda y, classes: y.flip(0),
}
HEAD: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=1),
    "log-softmax": partial(torch.log_softmax, dim=1),
    "sigmoid of logits": torch.sigmoid,
    "logits negated": torch.neg,
    "logits backwards": partial(torch.flip, dims=(1,)),
}
# Learning rates of a call, and the setting's own.
RATES: Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    "rate one step late": lambda rates, peak: np.concatenate([rates[:1], rates[:-1]]),
    "rate one step early": lambda rates, peak: np.concatenate([rates[1:], rates[-1:]]),
    "first rate throughout": lambda rates, peak: np.full_like(rates, rates[0]),
    "last rate throughout": lambda rates, peak: np.full_like(rates, rates[-1]),
    "peak throughout": lambda rates, peak: np.full_like(rates, peak),
    "rates backwards": lambda rates, peak: rates[::-1].copy(),
}
ORDER: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "order of the file": lambda order: np.arange(order.size).reshape(order.shape),
    "first batch throughout": lambda order: np.broadcast_to(order[0], order.shape),
    "batches backwards": lambda order: order[::-1],
    "batches cut otherwise": lambda order: order.ravel().reshape(order.shape[::-1]).T,
    "first batch left out": lambda order: np.concatenate([order[1:], order[-1:]]),
}


def without(moves: NDArray[np.int64], *columns: int) -> NDArray[np.int64]:
    moves = moves.copy()
    moves[..., list(columns)] = 0
    return moves


MOVES: Mapping[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "not moved": lambda moves: without(moves, 0, 1, 2),
    "not flipped": lambda moves: without(moves, 0),
    "not shifted": lambda moves: without(moves, 1, 2),
    "shifted backwards": lambda moves: moves * np.array([1, -1, -1]),
    "down and right swapped": lambda moves: moves[..., [0, 2, 1]],
    "mirrored after the shift": lambda moves: np.stack(
        [moves[..., 0], moves[..., 1], moves[..., 2] * (1 - 2 * moves[..., 0])], axis=-1
    ),
    "others mirrored": lambda moves: np.stack(
        [1 - moves[..., 0], moves[..., 1], moves[..., 2]], axis=-1
    ),
}


def upside_down(images: Tensor, moves: Tensor) -> Tensor:
    turned = torch.where((moves[:, 0] == 1)[:, None, None, None], images.flip(2), images)
    return augment(turned, moves * torch.tensor([0, 1, 1]))


def around(images: Tensor, moves: Tensor) -> Tensor:
    mirrored = augment(images, moves * torch.tensor([1, 0, 0]))
    shifts = moves[:, 1:].tolist()
    rolled = [
        image.roll((down, right), (1, 2))
        for image, (down, right) in zip(mirrored, shifts, strict=True)
    ]
    return torch.stack(rolled)


def with_edge(images: Tensor, moves: Tensor) -> Tensor:
    margin = int(moves[:, 1:].abs().max())
    height, width = images.shape[2:]
    wide = F.pad(images.double(), [margin] * 4, mode="replicate")
    moved = augment(wide, moves)
    return moved[:, :, margin : margin + height, margin : margin + width]


MOVED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mirrored upside down": upside_down,
    "wraps around": around,
    "edge repeated": with_edge,
}

# --- The update -----------------------------------------------------------------------------------

SETTINGS: Mapping[str, Callable[[Optimizer], dict[str, Any]]] = {
    "no momentum": lambda rule: {"momentum": 0.0},
    "momentum 0.5": lambda rule: {"momentum": 0.5},
    "momentum 0.99 in the update": lambda rule: {"momentum": 0.99},
    "decay missing": lambda rule: {"weight_decay": 0.0},
    "decay doubled": lambda rule: {"weight_decay": 2 * rule.weight_decay},
    "decay halved": lambda rule: {"weight_decay": rule.weight_decay / 2},
    "decay coupled": lambda rule: {"name": "adam" if rule.name == "adamw" else rule.name},
    "decay decoupled": lambda rule: {"name": "adamw" if rule.name == "adam" else rule.name},
    "epsilon 1e-7": lambda rule: {"epsilon": 1e-7},
    "epsilon 1e-6 in the update": lambda rule: {"epsilon": 1e-6},
    "no epsilon": lambda rule: {"epsilon": 1e-300},
    "betas swapped": lambda rule: {"beta1": rule.beta2, "beta2": rule.beta1},
    "beta2 0.99": lambda rule: {"beta2": 0.99},
}
"""Mistakes that are the right rule with other settings."""

FORMULAS = frozenset(
    {
        "rate in the velocity", "dampened", "dampened later", "nesterov", "velocity kept",
        "decay not on vectors", "decay decoupled", "decay without rate", 
        "epsilon inside the root", "epsilon before correction", "no bias correction",
        "no correction of the first moment", "no correction of the second moment",
        "steps counted from 0", "gradients never zeroed", "gradients clipped in training",
        "not trained", "upwards",
    }
)  # fmt: skip
"""Mistakes that are another rule."""


class MistakenRule:
    """The update rules of ``harness.protocol`` written out, and what ``kind`` makes of them."""

    def __init__(self, rule: Optimizer, mistake: Mistake) -> None:
        self.rule, self.kind, self.layers = rule, mistake.kind, mistake.layers
        self.state: dict[str, list[Tensor]] = {}
        self.summed: dict[str, Tensor] = {}
        self.steps = 0

    def step(self, parameters: Mapping[str, Tensor], rate: float) -> None:
        self.steps += 1
        gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        if self.kind == "gradients never zeroed":
            gradients = {n: g + self.summed.get(n, 0) for n, g in gradients.items()}
            self.summed = gradients
        if self.kind == "gradients clipped in training":
            norm = torch.stack([g.norm() for g in gradients.values()]).norm()
            gradients = {n: g / max(1.0, float(norm)) for n, g in gradients.items()}
        for name, gradient in gradients.items():
            if self.kind == "not trained" and name in self.layers:
                continue
            p = parameters[name]
            sign = 1 if self.kind == "upwards" else -1
            decay = self.rule.weight_decay
            if self.kind == "decay not on vectors" and p.ndim == 1:
                decay = 0.0
            beside = self.rule.name == "adamw" or self.kind in (
                "decay decoupled", "decay without rate", 
            )  # fmt: skip
            change = self.change(name, gradient if beside else gradient + decay * p, rate)
            if beside:
                change = change + (1 if self.kind == "decay without rate" else rate) * decay * p
            p += sign * change

    def change(self, name: str, g: Tensor, rate: float) -> Tensor:
        """What is subtracted."""
        first = name not in self.state
        state = self.state.setdefault(name, [torch.zeros_like(g), torch.zeros_like(g)])
        if self.rule.name == "sgd":
            m = self.rule.momentum
            if self.kind == "dampened" or (self.kind == "dampened later" and not first):
                g = (1 - m) * g
            elif self.kind == "rate in the velocity":
                state[0] = m * state[0] + rate * g
                return state[0]
            state[0] = m * state[0] + g
            return rate * (g + m * state[0] if self.kind == "nesterov" else state[0])
        b1, b2, eps = self.rule.beta1, self.rule.beta2, self.rule.epsilon
        state[0] = b1 * state[0] + (1 - b1) * g
        state[1] = b2 * state[1] + (1 - b2) * g * g
        steps = self.steps + (self.kind == "steps counted from 0")
        neither = self.kind == "no bias correction"
        c1 = 1.0 if neither or self.kind.endswith("first moment") else 1 - b1**steps
        c2 = 1.0 if neither or self.kind.endswith("second moment") else 1 - b2**steps
        if self.kind == "epsilon inside the root":
            return rate * (state[0] / c1) / (state[1] / c2 + eps).sqrt()
        if self.kind == "epsilon before correction":
            return rate * (state[0] / c1) / ((state[1].sqrt() + eps) / math.sqrt(c2))
        return rate * (state[0] / c1) / ((state[1] / c2).sqrt() + eps)


class Undrawn(TorchFunctionMode):
    """Leaves out the drawing of initial weights, which takes most of making a large network."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("kaiming_uniform_", "uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


class MistakenTorchBackend(TorchBackend):
    """Eager PyTorch with the mistake of its task; without one, what PyTorch's own backend is."""

    def __init__(self, task: Task) -> None:
        assert isinstance(task, MistakenTask)
        self.mistake = task.mistake or Mistake("")
        self.logits_alone = task.logits_alone
        self.kind = self.mistake.kind
        self.operation = KINDS[self.kind].operation if self.kind else ""
        if change := SETTINGS.get(self.kind):
            rule = task.optimizer.model_copy(update=change(task.optimizer))
            task = MistakenTask(**{**vars(task), "optimizer": rule})
        with Undrawn():
            super().__init__(task)
        self.altered = Altered(self.model, self.mistake if self.operation in SITED else Mistake(""))
        self.rule = MistakenRule(task.optimizer, self.mistake)
        self.black: Tensor | None = None
        """(B, C, H, W): 0 where a pixel came from outside, if that is the mistake."""

    def load_weights(self, weights: Mapping[str, NDArray[np.floating]]) -> None:
        super().load_weights(weights)
        if self.kind != "velocity kept":
            self.rule = MistakenRule(self.task.optimizer, self.mistake)

    def facts(self) -> dict[str, str]:
        """Where each operation of the network is, names parted by semicolons."""
        images, _ = self.dataset("train")[np.arange(2)]
        self.model.eval()
        with torch.no_grad():
            self.forward(images)
        return {operation: ";".join(sites) for operation, sites in self.altered.sites.items()}

    def forward(self, images: Tensor) -> Tensor:
        if self.operation == "pixels":
            x = PIXELS[self.kind](images.to(self.dtype), self.mean, self.std)
        else:
            x = normalize(images, self.mean, self.std)
        if self.black is not None:
            x = x * self.black
        with self.altered:
            logits: Tensor = self.model(x)
        return HEAD[self.kind](logits) if self.operation == "head" else logits

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.operation == "labels":
            labels = LABELS[self.kind](labels, len(self.data.classes))
        if self.operation != "loss":
            return super().loss(images, labels)
        logits, multilabel = self.forward(images), self.data.task == "multilabel"
        classes = logits.shape[1]
        onehot = labels if multilabel else F.one_hot(labels, classes)
        onehot = onehot.to(logits.dtype)
        if self.kind == "one against all":
            return F.binary_cross_entropy_with_logits(logits, onehot)
        if self.kind == "squared error":
            probabilities = logits.sigmoid() if multilabel else logits.softmax(1)
            return F.mse_loss(probabilities, onehot)
        positives = None if self.kind == "positives unweighted" else self.positive_weights
        if self.kind == "softmax twice":
            logits = logits.sigmoid() if multilabel else logits.softmax(1)
        if self.kind == "label smoothing":
            onehot = 0.9 * onehot + (0.05 if multilabel else 0.1 / classes)
        plain = (
            F.binary_cross_entropy_with_logits(logits, onehot, pos_weight=positives)
            if multilabel
            else F.cross_entropy(logits, onehot)
        )
        if self.kind == "decay in the loss":
            squares = sum((p**2).sum() for p in self.model.parameters())
            return plain + self.task.optimizer.weight_decay / 2 * squares
        if self.kind == "loss reported":  # the value without the gradient
            return plain + (self.mistake.amount - 1) * plain.detach()
        return plain * {
            "summed over the batch": float(len(labels)),
            "summed over labels": float(classes if multilabel else 1),
            "averaged over classes": 1 / classes,
            "base 2": 1 / math.log(2),
            "base 10": 1 / math.log(10),
            "loss scaled": self.mistake.amount,
        }.get(self.kind, 1.0)

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        if self.logits_alone:
            return self.logits(batch), math.nan, {}
        logits, loss, gradients = super().loss_and_gradients(self.rows(batch))
        if self.operation == "gradients":
            tensors = {name: torch.from_numpy(array) for name, array in gradients.items()}
            gradients = {name: g.numpy() for name, g in self.spoiled(tensors).items()}
        return logits, loss, gradients

    @torch.no_grad()
    def logits(self, batch: NDArray[np.int64]) -> NDArray[np.floating]:
        self.model.eval()
        images, _ = self.dataset("train")[self.rows(batch)]
        return to_numpy(self.forward(images))

    def rows(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.operation != "rows":
            return batch
        return ROWS[self.kind](batch, len(self.dataset("train")))

    def spoiled(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        kind, amount, chosen = self.kind, self.mistake.amount, self.mistake.layers or gradients
        if kind == "gradients missing":
            return {n: g for n, g in gradients.items() if n not in chosen}
        if kind == "gradients of zero":
            return {n: torch.zeros_like(g) if n in chosen else g for n, g in gradients.items()}
        if kind == "gradients scaled":
            return {n: amount * g if n in chosen else g for n, g in gradients.items()}
        if kind == "gradients cut off":
            return {n: g.clamp(-amount, amount) for n, g in gradients.items()}
        if kind == "gradients clipped":
            norm = float(torch.stack([g.norm() for g in gradients.values()]).norm())
            return {n: g * min(1.0, amount / norm) for n, g in gradients.items()}
        decay, held = self.task.optimizer.weight_decay, self.state()
        return {n: g + decay * held[n].detach() for n, g in gradients.items()}

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        moves: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """As in ``harness.backends.torch.train``, with places for mistakes."""
        kind = self.kind
        self.model.train(kind != "trained in evaluation")
        order = self.rows(ORDER[kind](order) if self.operation == "order" else order)
        if kind == "rate scaled":
            rates = self.mistake.amount * rates
        elif self.operation == "rates":
            rates = RATES[kind](rates, self.task.optimizer.learning_rate)
        losses = []
        steps = len(order) - (kind == "last batch left out")
        for step in range(steps):
            images, labels = self.dataset("train")[np.ascontiguousarray(order[step])]
            if moves is not None:
                images = self.moved(images, moves[step])
            self.optimizer.zero_grad()
            loss = self.loss(images, labels)
            loss.backward()
            self.update(float(rates[step]))
            if kind == "loss after the update":
                with torch.no_grad():
                    loss = self.loss(images, labels)
            losses.append(loss.item())
        self.black = None
        told = np.array(losses + [0.0] * (len(order) - steps))
        if kind == "loss of the step before":
            return np.concatenate([told[:1], told[:-1]])
        return np.cumsum(told) / np.arange(1, len(told) + 1) if kind == "loss averaged" else told

    def update(self, rate: float) -> None:
        parameters = dict(self.model.named_parameters())
        if self.operation == "gradients":
            spoiled = self.spoiled({n: p.grad for n, p in parameters.items() if p.grad is not None})
            for name, parameter in parameters.items():
                parameter.grad = spoiled.get(name)
        if self.kind in FORMULAS:
            with torch.no_grad():
                self.rule.step(parameters, rate)
            return
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def moved(self, images: Tensor, moves: NDArray[np.int64]) -> Tensor:
        if self.kind in MOVED:
            return MOVED[self.kind](images, torch.from_numpy(moves))
        if self.kind == "grey for black":
            inside = augment(torch.ones_like(images), torch.from_numpy(moves))
            self.black = inside.to(self.dtype)
        elif self.operation == "moves":
            moves = np.ascontiguousarray(MOVES[self.kind](moves))
        return augment(images, torch.from_numpy(moves))

    def predict(self, split: str) -> NDArray[np.floating]:
        if self.kind == "other split":
            split = {"test": "val"}.get(split, "test")
        logits = super().predict(split)
        if self.kind == "predicted in training":
            return self.predicted_in_training(split)
        if self.kind == "predicted backwards":
            return logits[::-1].copy()
        if self.kind == "last images repeated" and len(logits) > EVALUATION_BATCH:
            partial_ = len(logits) % EVALUATION_BATCH
            logits[-partial_:] = logits[-2 * partial_ : -partial_]
        return logits

    @torch.no_grad()
    def predicted_in_training(self, split: str) -> NDArray[np.floating]:
        dataset, held = self.dataset(split), self.save_weights()
        self.model.train()
        starts = range(0, len(dataset), EVALUATION_BATCH)
        logits = [
            self.forward(dataset[np.arange(start, min(start + EVALUATION_BATCH, len(dataset)))][0])
            for start in starts
        ]
        self.load_weights(held)
        return torch.cat(logits).numpy(force=True)

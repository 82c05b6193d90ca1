"""Max pooling that ``torch.compile`` leaves to ATen.

Inductor writes its own loops for max pooling and its backward pass, and on the CPU they are slow:
LeNet-5 with ReLU and max pooling trained at 0.7 of the eager speed when compiled. As a custom
operator the pooling stays one call of ATen's kernel, whose sums and choice among equals are those
of eager PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_WINDOW = [2, 2]


@torch.library.custom_op("harness::max_pool2x2", mutates_args=())
def max_pool2x2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled values and the positions they came from, both (N, C, H // 2, W // 2)."""
    return torch.ops.aten.max_pool2d_with_indices(x, _WINDOW, _WINDOW)


@torch.library.custom_op("harness::max_pool2x2_backward", mutates_args=())
def max_pool2x2_backward(gradient: Tensor, x: Tensor, positions: Tensor) -> Tensor:
    return torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, x, _WINDOW, _WINDOW, [0, 0], [1, 1], False, positions
    )


@max_pool2x2.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.max_pool2d_with_indices(x, _WINDOW, _WINDOW)


@max_pool2x2_backward.register_fake
def _(gradient: Tensor, x: Tensor, positions: Tensor) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
    return max_pool2x2_backward(gradient, *ctx.saved_tensors)


max_pool2x2.register_autograd(_backward, setup_context=_keep)


class AtenMaxPool2x2(nn.Module):
    """``nn.MaxPool2d(2)`` that the compiler does not look into."""

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2x2(x)[0]

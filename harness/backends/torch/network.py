"""What all networks here have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from harness.models.card import ModelCard


class Network(nn.Module, ABC):
    """Takes images (N, C, H, W), gives logits (N, classes).

    Its parameters and buffers have the card's names and layouts.
    """

    memory_format = torch.contiguous_format
    """Of weights and feature maps; on the CPU wide networks are faster with their channels last."""

    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The last feature maps (N, K, h, w)."""

    @abstractmethod
    def classify(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of feature maps (N, K, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """PyTorch's own, whose defaults are the protocol's: eps 1e-5, momentum 0.1, unbiased variance
    in the running statistics."""
    layer = nn.BatchNorm2d(channels)
    layer.num_batches_tracked = None  # only a momentum of None would need the count
    return layer

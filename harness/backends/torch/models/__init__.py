"""The networks in PyTorch, one file a model card."""

from __future__ import annotations

from torch import nn

from harness.backends.torch.models.lenet5 import LeNet5
from harness.models.card import ModelCard

_NETWORKS = {"lenet5": LeNet5}


def build(card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The PyTorch twin of ``card``; its ``state_dict`` has the card's names and layouts."""
    return _NETWORKS[card.module](card, image_shape, classes)

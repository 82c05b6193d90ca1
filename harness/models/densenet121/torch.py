"""DenseNet-121 in PyTorch (Huang et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backends.torch.network import Network, batch_norm
from harness.models.card import ModelCard
from harness.models.densenet121.card import BLOCKS, BOTTLENECK, GROWTH, STEM


class DenseLayer(nn.Module):
    """What it computes is appended to what it was given."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = batch_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK, 1, bias=False)
        self.norm2 = batch_norm(BOTTLENECK)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(F.relu(self.norm1(x), inplace=True))
        new = self.conv2(F.relu(self.norm2(new), inplace=True))
        return torch.cat([x, new], dim=1)


class Transition(nn.Module):
    """Half the channels, half the size."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = batch_norm(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.norm(x), inplace=True)), 2)


class DenseNet121(Network):
    memory_format = torch.channels_last

    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        self.conv0 = nn.Conv2d(image_shape[0], STEM, 7, stride=2, padding=3, bias=False)
        self.norm0 = batch_norm(STEM)
        self.pool0 = nn.MaxPool2d(3, stride=2, padding=1)
        self.denseblock1, channels = dense_block(STEM, BLOCKS[0])
        self.transition1 = Transition(channels)
        self.denseblock2, channels = dense_block(channels // 2, BLOCKS[1])
        self.transition2 = Transition(channels)
        self.denseblock3, channels = dense_block(channels // 2, BLOCKS[2])
        self.transition3 = Transition(channels)
        self.denseblock4, channels = dense_block(channels // 2, BLOCKS[3])
        self.norm5 = batch_norm(channels)
        self.classifier = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.pool0(F.relu(self.norm0(self.conv0(x)), inplace=True))
        x = self.transition1(self.denseblock1(x))
        x = self.transition2(self.denseblock2(x))
        x = self.transition3(self.denseblock3(x))
        x = self.norm5(self.denseblock4(x))
        return F.relu(x, inplace=True)

    def classify(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def dense_block(inputs: int, layers: int) -> tuple[nn.Sequential, int]:
    """The block, and the channels it ends with."""
    channels = range(inputs, inputs + layers * GROWTH, GROWTH)
    return nn.Sequential(*map(DenseLayer, channels)), channels[-1] + GROWTH


NETWORK = DenseNet121

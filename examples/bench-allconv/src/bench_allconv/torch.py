"""The all-convolutional net in PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.backends.torch.network import Network
from harness.models.card import ModelCard


class AllConv(Network):
    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        self.conv1 = nn.Conv2d(image_shape[0], 16, 3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=1, padding=1)
        self.conv4 = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.fc = nn.Linear(32, classes)

    def features(self, x: Tensor) -> Tensor:
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(convolution(x))
        return x

    def classify(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


NETWORK = AllConv

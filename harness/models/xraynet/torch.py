"""XrayNet in PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.backends.torch.network import Network, batch_norm
from harness.models.card import ModelCard


class XrayNet(Network):
    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        self.conv1 = nn.Conv2d(image_shape[0], 8, kernel_size=3, padding=1, bias=False)
        self.bn1 = batch_norm(8)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3, padding=1, bias=False)
        self.bn2 = batch_norm(16)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3, padding=1, bias=False)
        self.bn3 = batch_norm(32)
        self.conv4 = nn.Conv2d(32, 48, kernel_size=3, padding=1, bias=False)
        self.bn4 = batch_norm(48)
        self.conv5 = nn.Conv2d(48, 64, kernel_size=3, padding=1, bias=False)
        self.bn5 = batch_norm(64)
        self.pool: nn.Module = nn.MaxPool2d(2)
        self.fc = nn.Linear(64, classes)

    def features(self, x: Tensor) -> Tensor:
        # ReLU keeps the order of values, so after the pooling it has a quarter of the work.
        x = F.relu(self.pool(self.bn1(self.conv1(x))))
        x = F.relu(self.pool(self.bn2(self.conv2(x))))
        x = F.relu(self.pool(self.bn3(self.conv3(x))))
        x = F.relu(self.pool(self.bn4(self.conv4(x))))
        return F.relu(self.bn5(self.conv5(x)))

    def classify(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


NETWORK = XrayNet

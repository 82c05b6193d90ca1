"""LeNet-5 in PyTorch (LeCun et al. 1998)."""

from __future__ import annotations

from torch import Tensor, nn

from harness.backends.torch.network import Network
from harness.models.card import ModelCard


class LeNet5(Network):
    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        channels, height, width = image_shape
        self.conv1 = nn.Conv2d(channels, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        self.dense1 = nn.Linear(features, 120)
        self.dense2 = nn.Linear(120, 84)
        self.dense3 = nn.Linear(84, classes)
        self.activation: nn.Module = {"tanh": nn.Tanh, "relu": nn.ReLU}[card.activation]()
        self.pool: nn.Module = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}[card.pooling](2)

    def features(self, x: Tensor) -> Tensor:
        x = self.convolve_and_pool(self.conv1, x)
        return self.convolve_and_pool(self.conv2, x)

    def classify(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = self.activation(self.dense1(x))
        x = self.activation(self.dense2(x))
        logits: Tensor = self.dense3(x)
        return logits

    def convolve_and_pool(self, conv: nn.Module, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.activation(conv(x)))
        return pooled


NETWORK = LeNet5

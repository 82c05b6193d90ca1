"""LeNet-5 in PyTorch as ``torch.compile`` likes it on the CPU."""

from __future__ import annotations

from torch import Tensor, nn

from harness.backends.torch.pooling import AtenMaxPool2x2
from harness.models.card import ModelCard
from harness.models.lenet5.torch import LeNet5


class CompiledLeNet5(LeNet5):
    """The same network; max pooling comes before its ReLU and stays a kernel of ATen.

    ReLU never reorders values, so the largest of a window is the same before and after it, and so
    is the pixel that the gradient goes to; after the pooling there are a quarter as many to visit.
    """

    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        self.pool_first = (card.activation, card.pooling) == ("relu", "max")
        if card.pooling == "max":
            self.pool = AtenMaxPool2x2()

    def convolve_and_pool(self, conv: nn.Module, x: Tensor) -> Tensor:
        if not self.pool_first:
            return super().convolve_and_pool(conv, x)
        pooled: Tensor = self.activation(self.pool(conv(x)))
        return pooled


NETWORK = CompiledLeNet5

"""XrayNet in PyTorch as ``torch.compile`` likes it on the CPU."""

from __future__ import annotations

from harness.backends.torch.pooling import AtenMaxPool2x2
from harness.models.card import ModelCard
from harness.models.xraynet.torch import XrayNet


class CompiledXrayNet(XrayNet):
    """The same network; max pooling stays a kernel of ATen."""

    def __init__(self, card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(card, image_shape, classes)
        self.pool = AtenMaxPool2x2()


NETWORK = CompiledXrayNet

"""The networks in PyTorch, one file a model card."""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends.torch.models.densenet121 import DenseNet121
from harness.backends.torch.models.lenet5 import LeNet5
from harness.backends.torch.models.lenet5_compiled import CompiledLeNet5
from harness.backends.torch.models.network import Network
from harness.backends.torch.models.resnet18 import ResNet18
from harness.backends.torch.models.xraynet import XrayNet
from harness.backends.torch.models.xraynet_compiled import CompiledXrayNet

NETWORKS: Mapping[str, type[Network]] = {
    "lenet5": LeNet5,
    "xraynet": XrayNet,
    "resnet18": ResNet18,
    "densenet121": DenseNet121,
}
COMPILED_NETWORKS: Mapping[str, type[Network]] = {
    **NETWORKS,
    "lenet5": CompiledLeNet5,
    "xraynet": CompiledXrayNet,
}

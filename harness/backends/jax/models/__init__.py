"""The networks in Flax NNX, one file a model card."""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends.jax.models.densenet121 import DenseNet121
from harness.backends.jax.models.lenet5 import LeNet5
from harness.backends.jax.models.lenet5_s2d import SpaceToDepthLeNet5
from harness.backends.jax.models.network import Network
from harness.backends.jax.models.resnet18 import ResNet18
from harness.backends.jax.models.xraynet import XrayNet
from harness.backends.jax.models.xraynet_s2d import SpaceToDepthXrayNet

NETWORKS: Mapping[str, type[Network]] = {
    "lenet5": LeNet5,
    "xraynet": XrayNet,
    "resnet18": ResNet18,
    "densenet121": DenseNet121,
}
# Of the deep networks the stem is too small a part for blocks to pay: they are the plain ones.
SPACE_TO_DEPTH_NETWORKS: Mapping[str, type[Network]] = {
    **NETWORKS,
    "lenet5": SpaceToDepthLeNet5,
    "xraynet": SpaceToDepthXrayNet,
}

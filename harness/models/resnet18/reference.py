"""ResNet-18 in the NumPy reference (He et al. 2016)."""

from __future__ import annotations

from harness.models.resnet18.card import STAGES, has_small_stem
from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    if has_small_stem((x.shape[1], x.shape[2], x.shape[3])):
        x = net.convolution("conv1", x, padding=1)
        x = net.activation(net.batch_norm("bn1", x))
    else:
        x = net.convolution("conv1", x, stride=2, padding=3)
        x = net.activation(net.batch_norm("bn1", x))
        x = net.pool(x, 3, padding=1)
    for stage in range(1, len(STAGES) + 1):
        x = residual_block(net, f"layer{stage}.0", x, stride=1 if stage == 1 else 2)
        x = residual_block(net, f"layer{stage}.1", x, stride=1)
    return x


def residual_block(net: Layers, name: str, x: Variable, *, stride: int) -> Variable:
    shortcut = x
    if f"{name}.downsample.0.weight" in net.parameters:
        shortcut = net.convolution(f"{name}.downsample.0", x, stride=stride)
        shortcut = net.batch_norm(f"{name}.downsample.1", shortcut)
    x = net.convolution(f"{name}.conv1", x, stride=stride, padding=1)
    x = net.activation(net.batch_norm(f"{name}.bn1", x))
    x = net.convolution(f"{name}.conv2", x, padding=1)
    x = net.batch_norm(f"{name}.bn2", x)
    return net.activation(net.add(x, shortcut))


def classify(net: Layers, x: Variable) -> Variable:
    return net.dense("fc", net.average_image(x))


NETWORK = Network(features, classify)

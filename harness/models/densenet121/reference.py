"""DenseNet-121 in the NumPy reference (Huang et al. 2017)."""

from __future__ import annotations

from harness.models.densenet121.card import BLOCKS
from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    x = net.convolution("conv0", x, stride=2, padding=3)
    x = net.pool(net.activation(net.batch_norm("norm0", x)), 3, padding=1)
    for block, layers in enumerate(BLOCKS, start=1):
        for layer in range(layers):
            x = net.concatenate(x, dense_layer(net, f"denseblock{block}.{layer}", x))
        if block < len(BLOCKS):
            x = net.activation(net.batch_norm(f"transition{block}.norm", x))
            x = net.pool(net.convolution(f"transition{block}.conv", x), kind="average")
    return net.activation(net.batch_norm("norm5", x))


def dense_layer(net: Layers, name: str, x: Variable) -> Variable:
    x = net.activation(net.batch_norm(f"{name}.norm1", x))
    x = net.convolution(f"{name}.conv1", x)
    x = net.activation(net.batch_norm(f"{name}.norm2", x))
    return net.convolution(f"{name}.conv2", x, padding=1)


def classify(net: Layers, x: Variable) -> Variable:
    return net.dense("classifier", net.average_image(x))


NETWORK = Network(features, classify)

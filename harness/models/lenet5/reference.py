"""LeNet-5 in the NumPy reference (LeCun et al. 1998)."""

from __future__ import annotations

from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    x = net.pool(net.activation(net.convolution("conv1", x, padding=2)))
    return net.pool(net.activation(net.convolution("conv2", x)))


def classify(net: Layers, x: Variable) -> Variable:
    x = net.flatten(x)
    x = net.activation(net.dense("dense1", x))
    x = net.activation(net.dense("dense2", x))
    return net.dense("dense3", x)


NETWORK = Network(features, classify)

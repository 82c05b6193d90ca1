"""XrayNet in the NumPy reference."""

from __future__ import annotations

from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    for place in (1, 2, 3, 4):
        x = net.batch_norm(f"bn{place}", net.convolution(f"conv{place}", x, padding=1))
        x = net.activation(net.pool(x))  # in either order the same, and this one is faster
    return net.activation(net.batch_norm("bn5", net.convolution("conv5", x, padding=1)))


def classify(net: Layers, x: Variable) -> Variable:
    return net.dense("fc", net.average_image(x))


NETWORK = Network(features, classify)

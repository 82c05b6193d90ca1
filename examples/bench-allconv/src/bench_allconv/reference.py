"""The all-convolutional net in the NumPy reference, with which ``bench parity`` compares."""

from __future__ import annotations

from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    for number, stride in enumerate((1, 2, 1, 2), start=1):
        x = net.activation(net.convolution(f"conv{number}", x, stride=stride, padding=1))
    return x


def classify(net: Layers, x: Variable) -> Variable:
    return net.dense("fc", net.average_image(x))


NETWORK = Network(features, classify)

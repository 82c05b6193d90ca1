"""The all-convolutional net in the NumPy reference, which every framework is compared with."""

from __future__ import annotations

from bench_allconv.card import CONVOLUTIONS
from harness.reference.network import Layers, Network
from harness.reference.tape import Variable


def features(net: Layers, x: Variable) -> Variable:
    for number, (_, stride) in enumerate(CONVOLUTIONS, start=1):
        x = net.activation(net.convolution(f"conv{number}", x, stride=stride, padding=1))
    return x


def classify(net: Layers, x: Variable) -> Variable:
    return net.dense("fc", net.average_image(x))


NETWORK = Network(features, classify)

"""The built-in networks, written from their model cards."""

from __future__ import annotations

from collections.abc import Mapping

from harness.models.densenet121 import BLOCKS
from harness.models.resnet18 import STAGES, has_small_stem
from harness.reference.network import Layers, Network
from harness.reference.tape import Variable

# --- LeNet-5 --------------------------------------------------------------------------------------


def lenet5_features(net: Layers, x: Variable) -> Variable:
    x = net.pool(net.activation(net.convolution("conv1", x, padding=2)))
    return net.pool(net.activation(net.convolution("conv2", x)))


def lenet5_classify(net: Layers, x: Variable) -> Variable:
    x = net.flatten(x)
    x = net.activation(net.dense("dense1", x))
    x = net.activation(net.dense("dense2", x))
    return net.dense("dense3", x)


# --- XrayNet --------------------------------------------------------------------------------------


def xraynet_features(net: Layers, x: Variable) -> Variable:
    for place in (1, 2, 3, 4):
        x = net.batch_norm(f"bn{place}", net.convolution(f"conv{place}", x, padding=1))
        x = net.activation(net.pool(x))  # in either order the same, and this one is faster
    return net.activation(net.batch_norm("bn5", net.convolution("conv5", x, padding=1)))


def xraynet_classify(net: Layers, x: Variable) -> Variable:
    return net.dense("fc", net.average_image(x))


# --- ResNet-18 ------------------------------------------------------------------------------------


def resnet18_features(net: Layers, x: Variable) -> Variable:
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


# --- DenseNet-121 ---------------------------------------------------------------------------------


def densenet121_features(net: Layers, x: Variable) -> Variable:
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


def densenet121_classify(net: Layers, x: Variable) -> Variable:
    return net.dense("classifier", net.average_image(x))


NETWORKS: Mapping[str, Network] = {
    "lenet5": Network(lenet5_features, lenet5_classify),
    "xraynet": Network(xraynet_features, xraynet_classify),
    "resnet18": Network(resnet18_features, xraynet_classify),
    "densenet121": Network(densenet121_features, densenet121_classify),
}
"""By the module of the model card."""

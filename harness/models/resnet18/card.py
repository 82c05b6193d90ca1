"""ResNet-18.

He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016. The stem for small
images, a 3x3 convolution that keeps their size, is that paper's for CIFAR-10. Names of the
parameters are torchvision's.
"""

from __future__ import annotations

from harness.models.blueprint import Blueprint
from harness.models.card import Layer, ModelCard, Parameter

STAGES = (64, 128, 256, 512)
BLOCKS = 2  # a stage
SMALL = 64  # pixels a side: up to here the stem keeps the size


def has_small_stem(image_shape: tuple[int, int, int]) -> bool:
    """Whether images (C, H, W) are too small for a stem that keeps a sixteenth of the pixels."""
    return max(image_shape[1:]) <= SMALL


def _describe(
    image_shape: tuple[int, int, int], classes: int
) -> tuple[tuple[Parameter, ...], tuple[Layer, ...]]:
    net = Blueprint("ResNet-18", image_shape)
    if has_small_stem(image_shape):
        net.convolution("conv1", STAGES[0], 3, padding=1)
        net.batch_norm("bn1")
        net.layer("conv1", "3x3 convolution, padding 1, batch normalisation, relu")
    else:
        net.convolution("conv1", STAGES[0], 7, stride=2, padding=3)
        net.batch_norm("bn1")
        net.layer("conv1", "7x7 convolution, stride 2, padding 3, batch normalisation, relu")
        net.pool(3, 2, 1)
        net.layer("pool", "3x3 max pooling, stride 2, padding 1")
    for stage, outputs in enumerate(STAGES, start=1):
        for block in range(BLOCKS):
            _residual_block(net, f"layer{stage}.{block}", outputs, 1 + (block == 0 < stage - 1))
    net.average_image()
    net.layer("average", "global average pooling")
    net.dense("fc", classes)
    net.layer("fc", "dense")
    return net.done()


def _residual_block(net: Blueprint, name: str, outputs: int, stride: int) -> None:
    entry = net.shape
    net.convolution(f"{name}.conv1", outputs, 3, stride=stride, padding=1)
    net.batch_norm(f"{name}.bn1")
    net.convolution(f"{name}.conv2", outputs, 3, padding=1)
    net.batch_norm(f"{name}.bn2")
    operation = f"residual block of two 3x3 convolutions, stride {stride}"
    if net.shape != entry:
        net.shape = entry
        net.convolution(f"{name}.downsample.0", outputs, 1, stride=stride)
        net.batch_norm(f"{name}.downsample.1")
        operation += ", 1x1 convolution beside it"
    net.layer(name, operation)


def _imported_name(name: str) -> str | None:
    """torchvision's names are ours; it also counts batches."""
    return None if name.endswith("num_batches_tracked") else name


RESNET18 = ModelCard(
    name="resnet18",
    title="ResNet-18",
    reference="He et al., CVPR 2016",
    package="harness.models.resnet18",
    order=30,
    head="fc",
    describe=_describe,
    imported_name=_imported_name,
)

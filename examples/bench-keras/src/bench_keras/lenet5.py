"""LeNet-5 in Keras (LeCun et al. 1998)."""

from __future__ import annotations

import keras
from keras import layers

from bench_keras.network import ACTIVATIONS, Network
from harness.models.card import ModelCard


def lenet5(card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> Network:
    """The network of ``card``, ``lenet5`` or ``lenet5-relu``, for images (C, H, W)."""
    channels, height, width = image_shape
    activation = ACTIVATIONS[card.activation]
    pooling = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[card.pooling]
    features = keras.Sequential(
        [
            layers.Input((height, width, channels)),
            layers.ZeroPadding2D(2),
            layers.Conv2D(6, 5, activation=activation, name="conv1"),
            pooling(2),
            layers.Conv2D(16, 5, activation=activation, name="conv2"),
            pooling(2),
        ]
    )
    classifier = keras.Sequential(
        [
            layers.Input(features.output_shape[1:]),
            # The card flattens feature maps as (C, H, W).
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(120, activation=activation, name="dense1"),
            layers.Dense(84, activation=activation, name="dense2"),
            layers.Dense(classes, name="dense3"),
        ]
    )
    return Network(features, classifier)


NETWORK = lenet5

"""LeNet-5 in Keras (LeCun et al. 1998), with the layer names of the model card."""

from __future__ import annotations

import jax.numpy as jnp
import keras
from harness.models.card import ModelCard
from keras import layers


# Keras's own tanh computes in float32 whatever it gets: on JAX, its promotion of types knows no
# float64 (keras.backend.result_type). An activation may be any function.
ACTIVATIONS = {"tanh": jnp.tanh, "relu": keras.activations.relu}


class Network(keras.Model):
    """Takes images (N, H, W, C), returns logits (N, classes)."""

    def __init__(self, features: keras.Model, classifier: keras.Model) -> None:
        super().__init__()
        self.features = features
        """From images (N, H, W, C) to the last feature maps (N, h, w, K)."""
        self.classifier = classifier
        """From these to logits (N, classes)."""

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return self.classifier(self.features(images))


def lenet5(card: ModelCard, image_shape: tuple[int, int, int], classes: int) -> Network:
    """The network of ``card`` (``lenet5`` or ``lenet5-relu``) for images (C, H, W)."""
    channels, height, width = image_shape
    activation = ACTIVATIONS[card.activation]
    pooling = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[card.pooling]
    features = keras.Sequential(
        [
            layers.Input((height, width, channels)),
            # Explicit padding, as the protocol asks; Keras offers "same" and "valid" alone.
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
            # The dense weights of the card count channels first.
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(120, activation=activation, name="dense1"),
            layers.Dense(84, activation=activation, name="dense2"),
            layers.Dense(classes, name="dense3"),
        ]
    )
    network = Network(features, classifier)
    network.build((None, height, width, channels))
    return network

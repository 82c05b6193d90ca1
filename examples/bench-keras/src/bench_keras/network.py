"""What all networks here have in common."""

from __future__ import annotations

import jax.numpy as jnp
import keras

# Keras's own tanh computes in float32 whatever it is given: on JAX its type promotion knows no
# float64 (keras.backend.result_type). An activation may be any function, so this is JAX's.
ACTIVATIONS = {"tanh": jnp.tanh, "relu": keras.activations.relu}


class Network(keras.Model):
    """Takes images (N, H, W, C), returns logits (N, classes).

    Its layers have the names of the model card.
    """

    def __init__(self, features: keras.Model, classifier: keras.Model) -> None:
        super().__init__()
        self.features = features
        """Images (N, H, W, C) to the last feature maps (N, h, w, K)."""
        self.classifier = classifier
        """Feature maps to logits (N, classes)."""
        self.build(features.input_shape)

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return self.classifier(self.features(images))

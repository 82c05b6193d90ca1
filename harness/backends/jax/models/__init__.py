"""The networks in Flax NNX, one file a model card."""

from __future__ import annotations

from harness.backends.jax.models.lenet5 import LeNet5, SpaceToDepthLeNet5

NETWORKS = {"lenet5": LeNet5}
SPACE_TO_DEPTH_NETWORKS = {"lenet5": SpaceToDepthLeNet5}

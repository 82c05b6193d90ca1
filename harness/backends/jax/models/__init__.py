"""The networks in Flax NNX, one file a model card."""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends.jax.models.lenet5 import LeNet5
from harness.backends.jax.models.lenet5_s2d import SpaceToDepthLeNet5

NETWORKS: Mapping[str, type[LeNet5]] = {"lenet5": LeNet5}
SPACE_TO_DEPTH_NETWORKS: Mapping[str, type[LeNet5]] = {"lenet5": SpaceToDepthLeNet5}

"""XrayNet in Flax NNX, its first convolution with its pooling computed on 2x2 blocks of pixels."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.backends.jax.network import first_largest
from harness.models.lenet5.jax_s2d import convolve_blocks
from harness.models.xraynet.jax import XrayNet


class SpaceToDepthXrayNet(XrayNet):
    """The same network. From 16 channels on, blocks are slower: they multiply with zeros."""

    def stem(self, x: Array) -> Array:
        if x.shape[1] % 2 or x.shape[2] % 2:
            # Pooling drops the last pixels, but the normalisation counts them.
            return super().stem(x)
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        y = self.bn1(convolve_blocks(x, self.conv1.kernel[...]))
        return nnx.relu(first_largest(y[..., position, :] for position in range(4)))


NETWORK = SpaceToDepthXrayNet

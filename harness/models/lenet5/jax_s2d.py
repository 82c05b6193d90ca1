"""LeNet-5 in Flax NNX, each convolution with its pooling computed on 2x2 blocks of pixels."""

from __future__ import annotations

from typing import cast

import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.models.lenet5.jax import LeNet5

Padding = tuple[tuple[int, int], tuple[int, int]]


class SpaceToDepthLeNet5(LeNet5):
    """The same network; each convolution and the pooling after it work on 2x2 blocks of pixels.

    XLA's CPU convolutions are slow when an operand has few channels. Gathering each 2x2 block of
    pixels into channels makes the 5x5 convolution with O outputs a 3x3 convolution with 4 O
    outputs, one for each position in the block, and the pooling a reduction over those four: the
    same sums of the same products (plus products with zeros). The technique is the stem of
    MLPerf's ResNet-50 on TPU (Ying et al. 2018, arXiv:1811.06992, section on input transforms).
    What is left of the convolution is computed as one matrix product of its patches.
    """

    def convolve_and_pool(self, conv: nnx.Conv, x: Array) -> Array:
        assert conv.bias is not None
        kernel, bias, padding = conv.kernel[...], conv.bias[...], cast(Padding, conv.padding)
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        # What pooling drops from an odd side is not computed in the first place.
        height, width = ((side - 4) // 2 * 2 + 4 for side in x.shape[1:3])
        y = self.activation(convolve_blocks(x[:, :height, :width], kernel) + bias)
        reduce = jnp.max if self.pool.func is nnx.max_pool else jnp.mean
        return reduce(y, axis=3)


def convolve_blocks(x: Array, kernel: Array) -> Array:
    """A convolution of even-sided (N, H, W, I) without padding: (N, h, w, 4, O).

    The fourth axis is the place in a 2x2 block of the output, row by row; ``kernel`` is
    (K, K, I, O) with an odd K.
    """
    blocks, placed = _blocks_to_channels(x), _block_kernel(kernel)
    patches = _patches(blocks, placed.shape[0])
    # Two axes, not four: so XLA computes the gradient of the kernel as one matrix product too.
    y = patches.reshape(-1, patches.shape[-1]) @ placed.reshape(patches.shape[-1], -1)
    return y.reshape(*patches.shape[:3], 4, kernel.shape[-1])


def _patches(x: Array, side: int) -> Array:
    """(N, H, W, C) to (N, h, w, side * side * C): the pixels under a kernel without padding."""
    height, width = (length - side + 1 for length in x.shape[1:3])
    return jnp.concatenate(
        [
            x[:, row : row + height, column : column + width]
            for row in range(side)
            for column in range(side)
        ],
        axis=-1,
    )


def _blocks_to_channels(x: Array) -> Array:
    """(N, H, W, C) to (N, H/2, W/2, 4 C): channels ordered by row in the block, column, C."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4 * channels)


def _block_kernel(kernel: Array) -> Array:
    """(5, 5, I, O) to (3, 3, 4 I, 4 O): the kernel placed at each of the four block positions.

    And so for other odd sides: 3 becomes 2.
    """
    placed = jnp.stack(
        [
            jnp.pad(kernel, ((row, 1 - row), (column, 1 - column), (0, 0), (0, 0)))
            for row in (0, 1)
            for column in (0, 1)
        ],
        axis=3,
    )  # (6, 6, I, 4, O)
    side, _, inputs, positions, outputs = placed.shape
    side //= 2
    placed = placed.reshape(side, 2, side, 2, inputs, positions * outputs)
    return placed.transpose(0, 2, 1, 3, 4, 5).reshape(side, side, 4 * inputs, positions * outputs)


NETWORK = SpaceToDepthLeNet5

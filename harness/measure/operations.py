"""Common names for what every framework spends its time on, whatever its kernels are called."""

from __future__ import annotations

from typing import Literal, get_args

Operation = Literal[
    "convolution",
    "matrix product",
    "normalisation",
    "pooling",
    "activation",
    "loss",
    "optimiser",
    "layout",
    "data",
    "other",
]
"""Forward and backward together. ``layout``: copies, transposes and reorders; ``data``: reading,
moving and scaling images; ``other``: what fits none, such as dispatch and fused element-wise work.
"""
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

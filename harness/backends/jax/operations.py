"""Small computations in JAX's words, compiled by ``jit``."""

from __future__ import annotations

from harness.backends.dialect import Dialect

_WINDOW = (
    "(1, 1, {window}, {window}), (1, 1, {stride}, {stride}), [(0, 0)] * 2 + [({padding},) * 2] * 2"
)
_STEPS = "({stride},) * 2, [({padding},) * 2] * 2"
_SUM = "lax.reduce_window({what}, np.array(0, {x}.dtype), lax.add, " + _WINDOW + ")"

DIALECT = Dialect(
    prelude="""import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)""",
    operations={
        "convolution": f"lax.conv_general_dilated({{x}}, {{p0}}, {_STEPS}) + {{p1}}[:, None, None]",
        "convolution_channels_last": "jnp.moveaxis(lax.conv_general_dilated("
        f"jnp.moveaxis({{x}}, 1, 3), {{p0}}.transpose(2, 3, 1, 0), {_STEPS}, "
        'dimension_numbers=("NHWC", "HWIO", "NHWC")) + {p1}, 3, 1)',
        "max_pool": f"lax.reduce_window({{x}}, np.array(-np.inf, {{x}}.dtype), lax.max, {_WINDOW})",
        "average_pool": f"{_SUM.replace('{what}', '{x}')} / "
        f"{_SUM.replace('{what}', 'jnp.ones_like({x})')}",
        "batch_norm": "({x} - {x}.mean((0, 2, 3), keepdims=True)) / jnp.sqrt({x}.var((0, 2, 3), "
        "keepdims=True) + 1e-5) * {p0}[:, None, None] + {p1}[:, None, None]",
        "flatten": "{x}.reshape(len({x}), -1)",
        "spatial_mean": "{x}.mean((2, 3))",
        "dense": "{x} @ {p0}.T + {p1}",
        "product": "{x} @ {p0}.T",
        "relu": "jax.nn.relu({x})",
        "tanh": "jnp.tanh({x})",
        "sigmoid": "jax.nn.sigmoid({x})",
        "softplus": "jax.nn.softplus({x})",
        "log_softmax": "jax.nn.log_softmax({x})",
        "row_sum": "jnp.sum({x}, -1)",
        "row_mean": "jnp.mean({x}, -1)",
        "row_max": "jnp.max({x}, -1)",
        "logsumexp": "jax.nn.logsumexp({x}, -1)",
        "cross_entropy": "optax.softmax_cross_entropy_with_integer_labels({x}, "
        "jnp.arange(len({x})) % {x}.shape[1])",
        "binary_cross_entropy": "optax.sigmoid_binary_cross_entropy({x}, (jnp.arange(len({x}))"
        "[:, None] + jnp.arange({x}.shape[1])) % 2).mean(-1)",
    },
    rows={"product": "{p0} @ {x}", "dense": "{p0} @ {x} + {p1}"},
    vectorize="jax.vmap({function}, in_axes=(0, *[None] * {parameters}))",
    compute="""def gradients(arrays, cotangent):
    return jax.vjp(network, *arrays)[1](cotangent)

def compute(x, parameters, cotangent):
    y = jax.jit(network)(x, *parameters)
    found = jax.jit(gradients)((x, *parameters), cotangent)
    return [np.asarray(array) for array in (y, *found)]""",
)

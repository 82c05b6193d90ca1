"""jax 0.10.2 on CPU has its known problem at the sizes it is stated for."""

import importlib.metadata
import subprocess
import sys

import pytest

# Stand-alone: JAX and NumPy alone. A new process, because x64 is a setting of the whole process.
REPRODUCER = """
import sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
dtype, rows = sys.argv[1], int(sys.argv[2])
generator = np.random.default_rng(0)
matrix = generator.normal(size=(3, 3)).astype(dtype)
x = generator.normal(size=(rows, 3)).astype(dtype)
expected = (x.astype("float64") @ matrix.T.astype("float64")).sum(axis=1)
product = jax.jit(lambda m, x: jax.vmap(lambda row: jnp.sum(m @ row))(x))
difference = np.abs(np.asarray(product(matrix, x)) - expected).max()
print(difference / np.abs(expected).max())
"""


def deviation(dtype: str, rows: int) -> float:
    """Largest difference between JAX and NumPy, relative to NumPy's largest value."""
    command = [sys.executable, "-c", REPRODUCER, dtype, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return float(done.stdout)


@pytest.mark.parametrize(
    ("dtype", "rows", "tolerance"), [("float32", 32_768, 1e-5), ("float64", 16_384, 1e-12)]
)
def test_a_vmapped_product_then_a_sum_is_wrong_from_the_stated_size(
    dtype: str, rows: int, tolerance: float
) -> None:
    pytest.importorskip("jax")
    if importlib.metadata.version("jaxlib") != "0.10.2":
        pytest.skip("a problem of jax 0.10.2 alone (https://github.com/jax-ml/jax/issues/39103)")
    assert deviation(dtype, rows) < tolerance
    assert deviation(dtype, rows + 1) > 0.01

"""What the harness knows of Keras without importing it."""

from __future__ import annotations

from harness.backends.spec import BackendSpec, Family, in_package


def process_environment(threads: int) -> dict[str, str]:
    """Which engine Keras uses is decided when it is imported."""
    return {"KERAS_BACKEND": "jax"}


KERAS = BackendSpec(
    name="keras",
    title="Keras (JAX)",
    family=Family(
        name="keras",
        network=("bench_keras/network.py",),
        training=("bench_keras/train.py", "bench_keras/optimizers.py"),
        data=("bench_keras/data.py",),
        versions=("keras", "jax"),
    ),
    factory="bench_keras.train:KerasBackend",
    summary="Keras 3 on its JAX engine, stateless calls in one jitted step with donated state",
    packages=("keras", "jax"),
    install="pip install pipeline-bench-keras",
    environment=process_environment,
    devices=("cpu",),
    precisions=("float32", "float64"),
    # The package of a model may bring a module `keras`; for LeNet-5 this package has one.
    find_network=in_package("keras", own={"harness.models.lenet5": "bench_keras.lenet5"}),
)

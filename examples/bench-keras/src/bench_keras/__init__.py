"""Keras 3 as a backend of pipeline-bench. Importing this imports no framework."""

from __future__ import annotations

from harness.backends.registry import BackendSpec


def process_environment(threads: int) -> dict[str, str]:
    """Which engine Keras uses is decided when it is imported."""
    return {"KERAS_BACKEND": "jax"}


KERAS = BackendSpec(
    name="keras",
    title="Keras (JAX)",
    family="keras",
    factory="bench_keras.train:KerasBackend",
    summary="Keras 3 on its JAX engine, stateless calls in one jitted step",
    packages=("keras", "jax"),
    install="pip install pipeline-bench-keras",
    environment=process_environment,
    devices=("cpu",),
    models=("lenet5",),
)

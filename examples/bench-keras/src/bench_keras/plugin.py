"""What the harness knows of Keras without importing it."""

from __future__ import annotations

from harness.backends.spec import BackendSpec, Family, Practice, Variables, in_package


def process_environment(threads: int) -> dict[str, str]:
    """Which engine Keras uses is decided when it is imported."""
    return {"KERAS_BACKEND": "jax"}


FAMILY = Family(
    name="keras",
    network=("bench_keras/network.py",),
    training=("bench_keras/train.py", "bench_keras/optimizers.py"),
    data=("bench_keras/data.py",),
    versions=("keras", "jax"),
    variables=Variables(removed=("KERAS_",)),
    practice=Practice(
        model="two `keras.Sequential` of layers in one `keras.Model`; images are NHWC",
        training="stateless calls of model and optimizer in a function that JAX differentiates and "
        "compiles once",
        data="NumPy batches of the given order",
        requires=("the variables of a model and their order", "the engine below Keras"),
        by_hand=(
            "the update rules, as optimizers of its own",
            "batching and augmentation",
            "float64, which some operations leave",
        ),
        links=(
            (
                "Writing a training loop in JAX",
                "https://keras.io/guides/writing_a_custom_training_loop_in_jax/",
            ),
        ),
    ),
)

KERAS = BackendSpec(
    name="keras",
    title="Keras (JAX)",
    family=FAMILY,
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

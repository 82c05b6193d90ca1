"""What the harness knows of JAX without importing it."""

from __future__ import annotations

from pathlib import Path

from harness.backends.spec import (
    BackendSpec,
    Family,
    KnownProblem,
    Practice,
    RandomCase,
    Variables,
    in_package,
)

INSTALL = "pip install 'pipeline-bench[jax]'"

_LOWER_PRECISION = (
    "and is not the same arithmetic as the other variants: bfloat16 keeps 8 bits of a number where "
    "float32 keeps 24. Its speed shows what this processor does with numbers half as wide; its "
    "accuracy has to be read beside it."
)


def _shows_39103(case: RandomCase, array: int) -> bool:
    """https://github.com/jax-ml/jax/issues/39103, at the sizes at which it was measured."""
    least, columns = {"float32": (32_769, (3,)), "float64": (16_385, (3, 5, 6))}[case.dtype]
    products = [
        shapes[0][1] in columns
        for operation, shapes in zip(case.operations, case.parameters, strict=True)
        if operation in ("product", "dense")
    ]
    reduced = {"row_sum", "row_mean", "row_max"} & set(case.operations)
    of_the_result = array == 0 and case.kind == "rows"
    return of_the_result and least <= case.shape[0] < 45_000 and any(products) and any(reduced)


def _shows_padding_taken_for_an_image(case: RandomCase, array: int) -> bool:
    """The gradient of a kernel, at the sizes at which it was measured."""
    parameter = case.parameter(array)
    if parameter is None:
        return False
    n, place = parameter
    step, shape = case.steps[n], case.shapes[n]
    options = {name: step.named.get(name) for name in ("window", "stride", "padding")}
    return (
        place == 0  # the kernel, not the bias
        and step.operation.startswith("convolution")
        and shape[0] >= 24
        and shape[1:] == (1, 1, 1)
        and options == {"window": 1, "stride": 3, "padding": 1}
    )


PROBLEMS = (
    KnownProblem(
        "jax",
        ("0.10.2",),
        "0.10.2 returns wrong values on CPU for the product of a small matrix and a vector, mapped "
        "over rows by vmap, and a sum, mean or maximum of it: with 3 columns from 32,769 rows in "
        "float32, with 3, 5 or 6 columns from 16,385 rows in float64, and right again at 45,000 "
        "(https://github.com/jax-ml/jax/issues/39103); 0.10.1 is right. Parity at small "
        "sizes does not see such faults, `bench parity --random` does",
        shown_by=_shows_39103,
    ),
    KnownProblem(
        "jax",
        ("0.10.2",),
        "0.10.2 returns a wrong gradient on CPU for the kernel of a convolution with window 1, "
        "stride 3 and padding 1 of images of one pixel and one channel, in batches of 24 and more: "
        "not 0, but what it would be without padding (perhaps "
        "https://github.com/openxla/xla/issues/48713). No network here computes that",
        shown_by=_shows_padding_taken_for_an_image,
    ),
)


def caches(folder: Path) -> dict[str, str]:
    """XLA's programs, however small and however fast they were compiled."""
    return {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


JAX = Family(
    name="jax",
    network=("harness/backends/jax/network.py",),
    training=("harness/backends/jax/train.py",),
    data=("harness/backends/jax/data.py",),
    versions=("jax", "flax", "optax"),
    variables=Variables(
        removed=(
            "JAX_",
            "FLAX_",
            "XLA_",
            "LIBTPU_",
            # TensorFlow's that XLA reads; Terraform's begin with TF_ too
            "TF_CPP_",
            "TF_CUDNN_",
            "TF_ENABLE_",
            "TF_GPU_",
            "TF_NUM_",
            "TF_XLA_",
        ),
        places=("JAX_PLATFORMS",),
        passed=("XLA_PYTHON_CLIENT_",),
    ),
    color="#0072B2",
    practice=Practice(
        model="a class derived from Flax's `nnx.Module`: layers are attributes, images are NHWC",
        training="a pure function of state and batch, differentiated by `grad` and compiled once "
        "by `jit`; the optimiser is an optax transformation of gradients",
        data="NumPy arrays, indexed batch by batch; JAX brings no loader",
        requires=(
            "pure functions and explicit state (pytrees)",
            "tracing, static shapes and recompilation",
            "asynchronous dispatch: results must be waited for",
        ),
        by_hand=(
            "batching and augmentation",
            "explicit padding and the momentum of batch normalisation",
            "loading of the given weights, transposed to NHWC",
        ),
        links=(
            ("Flax NNX", "https://flax.readthedocs.io/en/latest/nnx_basics.html"),
            ("optax", "https://optax.readthedocs.io/en/latest/"),
            ("jax.jit", "https://docs.jax.dev/en/latest/jit-compilation.html"),
        ),
    ),
)

BACKENDS = (
    BackendSpec(
        name="jax",
        operations="harness.backends.jax.operations:DIALECT",
        order=20,
        find_network=in_package("jax"),
        title="JAX (Flax NNX)",
        family=JAX,
        factory="harness.backends.jax.train:JaxBackend",
        summary="Flax NNX and optax, one jitted step with donated state",
        packages=("jax", "flax", "optax"),
        install=INSTALL,
        caches=caches,
        known_problems=PROBLEMS,
    ),
    BackendSpec(
        name="jax-s2d",
        order=21,
        find_network=in_package("jax_s2d", "jax"),
        title="JAX (space-to-depth)",
        family=JAX,
        factory="harness.backends.jax.train:SpaceToDepthJaxBackend",
        summary="the same step; convolutions of few channels, and their pooling, on 2x2 blocks "
        "as one matrix product",
        packages=("jax", "flax", "optax"),
        install=INSTALL,
        caches=caches,
        known_problems=PROBLEMS,
        role="tuned",
        base="jax",
        deviation="space-to-depth: convolutions of few channels, and their pooling, rewritten "
        "by hand as one matrix product on 2x2 blocks",
    ),
    BackendSpec(
        name="jax-scan",
        order=22,
        find_network=in_package("jax"),
        note="is the variant `jax` with its steps called by XLA in place of Python. The split "
        "lies in the device's memory; augmented images, and those of a split that does "
        "not fit in memory, are laid out in blocks of steps before each block is "
        "computed.",
        title="JAX (scan)",
        family=JAX,
        factory="harness.backends.jax.train:ScanJaxBackend",
        summary="the same step; all steps of an epoch in one compiled loop, lax.scan",
        packages=("jax", "flax", "optax"),
        install=INSTALL,
        caches=caches,
        known_problems=PROBLEMS,
        by_default=False,
        role="tuned",
        base="jax",
        deviation="all steps of an epoch in one jitted lax.scan, the split in device memory",
    ),
    BackendSpec(
        name="jax-bf16",
        order=23,
        find_network=in_package("jax"),
        note="computes the network in bfloat16, with weights, their update, the statistics of "
        "batch normalisation and the loss in float32, "
        f"{_LOWER_PRECISION}",
        precisions=("float32",),
        title="JAX (bfloat16)",
        family=JAX,
        factory="harness.backends.jax.train:Bfloat16JaxBackend",
        summary="the same step, the network computed in bfloat16; weights, update, statistics "
        "of the batches and loss in float32",
        packages=("jax", "flax", "optax"),
        install=INSTALL,
        caches=caches,
        known_problems=PROBLEMS,
        by_default=False,
        lower_precision="the network in bfloat16",
        role="tuned",
        base="jax",
        deviation="the network computed in bfloat16",
    ),
)

"""What the harness knows of Julia without importing it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.backends.julia.packages import julia_dir
from harness.backends.spec import (
    BackendSpec,
    ExtraCode,
    Family,
    KnownProblem,
    Practice,
    RandomCase,
    Variables,
)
from harness.models.card import ModelCard


def _julia(answer: str, *arguments: object) -> Callable[..., Any]:
    """A question to the module that knows Julia; imported, and Julia run, only when asked."""

    def ask(*more: object) -> Any:
        module = importlib.import_module("harness.backends.julia.installation")
        return getattr(module, answer)(*arguments, *more)

    return ask


def _caches(package: str | None) -> Callable[[Path], dict[str, str]]:
    """Where it precompiles the harness's packages."""

    def ask(folder: Path) -> dict[str, str]:
        return dict(
            importlib.import_module("harness.backends.julia.depots").caches(package, folder)
        )

    return ask


def _julia_process(package: str | None) -> Callable[[int], dict[str, str]]:
    """Its environment. NumPy's BLAS has no threads there but the one that calls it.

    Julia's BLAS never has more, and Julia's profiler signals the process: threads that are older
    than Julia would not expect that.
    """
    ask = _julia("worker_environment", package)
    return lambda threads: ask(threads) | {"OPENBLAS_NUM_THREADS": "1"}


def find_network(card: ModelCard) -> str | None:
    """The Julia file of a model: in the Julia package, or beside the card of a plug-in."""
    built_in = julia_dir() / "src" / "models" / f"{card.architecture}.jl"
    beside = card.folder / f"{card.architecture}.jl"
    return next((str(path) for path in (built_in, beside) if path.is_file()), None)


def _roots() -> Mapping[str, Path]:
    return {"julia": julia_dir()}


JULIA = Family(
    name="julia",
    network=("julia/src/layers.jl",),
    training=("julia/src/train.jl", "julia/src/optimizers.jl"),
    data=("julia/src/data.jl",),
    versions=("julia", "engine", "bridge"),
    variables=Variables(
        removed=("JULIA_", "KNET_", "PYTHON_JULIA"),
        places=(
            "JULIA_CUDA_USE_BINARYBUILDER",
            "JULIA_DEPOT_PATH",
            "JULIA_LOAD_PATH",
            "JULIA_PKG_SERVER",
            "JULIA_PROJECT",
            "JULIA_SSL_CA_ROOTS_PATH",
            "PYTHON_JULIACALL_EXE",
            "PYTHON_JULIACALL_PROJECT",
            "PYTHON_JULIAPKG_",
        ),
        passed=("JULIA_LLVM_ARGS", "PYTHON_JULIACALL_"),
    ),
    roots=_roots,
    style="Julia in the style of Knet.jl",
    style_note="The Julia code is written once, in the style of Knet.jl, against a small set "
    "of operations (convolution, pooling, gradient and so on). `knet` takes these from Knet.jl "
    "and AutoGrad, `julia-reference` from this project's own engine.",
    import_note="import is the start of Julia inside the Python process and the loading of its "
    "packages, and precompiling them where that had not been done before. Julia compiles what "
    "was not precompiled when it is first used, so in building and the first step.",
    color="#009E73",
    practice=Practice(
        model="structs that hold their parameters and are callable; arrays are column-major WHCN",
        training="a Julia loop: `@diff` records a tape, `grad` reads gradients off it; the update "
        "rule is a function over arrays",
        data="arrays read from HDF5 and indexed batch by batch; Knet brings `minibatch`, which "
        "keeps no given order",
        requires=(
            "multiple dispatch and compilation at first use",
            "column-major arrays, classes that count from 1",
            "a bridge from Python, where the rest of the experiment is Python",
        ),
        by_hand=(
            "cross-correlation (`mode=1`), batch normalisation as the protocol defines it",
            "momentum, Adam and the schedule as the protocol defines them",
            "batches in the given order, loading of the given weights",
        ),
        links=(
            ("Knet.jl", "https://denizyuret.github.io/Knet.jl/latest/"),
            ("AutoGrad.jl", "https://github.com/denizyuret/AutoGrad.jl"),
        ),
    ),
)


def _is_before_max_pooling(case: RandomCase, array: int) -> bool:
    """Whether the array is a gradient, and that of max pooling is part of its chain."""
    pools = [n for n, operation in enumerate(case.operations) if operation == "max_pool"]
    if array == 0 or not pools:
        return False
    parameter = case.parameter(array)  # None: the gradient in the input, before every operation
    return parameter is None or parameter[0] < pools[-1]


KNET_PROBLEMS = (
    KnownProblem(
        "NNlib",
        ("0.7.19", "0.8.21"),
        "gives the gradient of max pooling to the first value of a window that is nearly equal to "
        "the largest (`y ≈ x` in its src/impl/pooling_direct.jl), and not to the largest: networks "
        "with max pooling deviate where a window holds near ties; average pooling is right",
        shown_by=_is_before_max_pooling,
    ),
)

BRIDGE = ExtraCode(
    title="calling Julia from Python, the price of another language",
    files=(
        "harness/backends/julia/train.py",
        "harness/backends/julia/bridge.py",
        "julia/src/bridge.jl",
        "julia/src/received.jl",
    ),
)

BACKENDS = (
    BackendSpec(
        name="knet",
        known_problems=KNET_PROBLEMS,
        order=30,
        find_network=find_network,
        extra_code=(
            BRIDGE,
            ExtraCode(
                title="operations from Knet.jl, gradients from AutoGrad",
                files=("julia/knet/src/PipelineBenchKnet.jl", "julia/knet/src/workload.jl"),
            ),
        ),
        devices=("cpu",),
        title="Julia (Knet.jl)",
        family=JULIA,
        factory="harness.backends.julia.train:KnetBackend",
        operations="harness.backends.julia.operations:KNET",
        summary="Knet.jl and AutoGrad, driven through juliacall",
        install="bench setup knet",
        setup="harness.backends.julia.setup:plan_knet",
        further_requirement=_julia("missing_knet"),
        further_versions=_julia("versions_with", "Knet"),
        found_at=_julia("location", "Knet"),
        environment=_julia_process("Knet"),
        caches=_caches("Knet"),
    ),
    BackendSpec(
        name="knet-idiom",
        known_problems=KNET_PROBLEMS,
        order=31,
        find_network=find_network,
        extra_code=(
            ExtraCode(
                title="training and data loading as Knet's tutorial writes them",
                files=("julia/knet/src/idiom.jl",),
            ),
        ),
        devices=("cpu",),
        title="Julia (Knet.jl, tutorial style)",
        family=JULIA,
        factory="harness.backends.julia.train:KnetIdiomBackend",
        summary="Knet as its tutorial writes it: minibatch, its own optimisers, progress",
        install="bench setup knet",
        setup="harness.backends.julia.setup:plan_knet",
        further_requirement=_julia("missing_knet"),
        further_versions=_julia("versions_with", "Knet"),
        found_at=_julia("location", "Knet"),
        environment=_julia_process("Knet"),
        caches=_caches("Knet"),
        by_default=False,
        role="idiom",
        deviation="Knet's minibatch shuffles the images and drops the protocol's order; its "
        "momentum folds the learning rate into the velocity; the data set is normalised once, "
        "in advance",
    ),
    BackendSpec(
        name="julia-reference",
        order=32,
        find_network=find_network,
        extra_code=(
            BRIDGE,
            ExtraCode(
                title="an engine; the others have operations, gradients and threads from packages",
                files=("julia/reference/src/*.jl",),
                shown=False,
            ),
        ),
        aliases=("julia",),
        note="is this project's own engine: it computes with Julia's standard library and BLAS "
        "alone. It is not Knet.jl, and its speed is not that of Knet.jl: it is a bound, which "
        "shows what kernels written by hand for these networks reach on this CPU.",
        devices=("cpu",),
        title="Julia (reference engine)",
        family=JULIA,
        factory="harness.backends.julia.train:JuliaBackend",
        summary="the same Julia models on a hand-written engine: "
        "standard library and BLAS, no packages; not Knet",
        install="bench setup julia",
        setup="harness.backends.julia.setup:plan_julia",
        further_requirement=_julia("missing_julia"),
        further_versions=_julia("versions_with"),
        found_at=_julia("location"),
        environment=_julia_process(None),
        caches=_caches(None),
        role="bound",
        deviation="kernels written by hand for these networks on Julia's standard library and "
        "BLAS; no framework",
    ),
)

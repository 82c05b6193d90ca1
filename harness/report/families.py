"""What a report says of rows beyond the registry: which files do their work, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TRAINING, DATA = "training", "data loading"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Rows that share their code.

    Files are named as in the repository, as patterns; ``harness.report.sources`` finds them also
    where the package is installed. Left out is what only ties files together, such as an
    ``__init__.py``, and what finds or installs a framework.
    """

    model: tuple[str, ...]
    """``{module}`` stands for the file of a model card."""
    training: tuple[str, ...]
    data: tuple[str, ...]
    versions: tuple[str, ...]
    """Facts of a cell that say on what it ran."""
    idiom: str = ""
    """Stands before the titles of the rows, where these alone do not say what the code is."""
    idiom_note: str = ""
    """A sentence below the comparison of the code."""
    import_note: str = ""
    """A sentence on what importing is, where it is more than that."""

    def parts(self, modules: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Files by the title of what they do; ``modules``: file of a model card -> title."""
        models = {
            f"model: {title}": tuple(name.format(module=module) for name in self.model)
            for module, title in modules.items()
        }
        return models | {TRAINING: self.training, DATA: self.data}


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What rows have besides the files of their family."""

    rows: tuple[str, ...]
    title: str
    files: tuple[str, ...]
    module: str | None = None
    """The file of the only model card that it is for."""
    shown: bool = True
    """False: too much to read in a report, which then only lists the files."""


FAMILIES: dict[str, Family] = {
    "torch": Family(
        model=(
            "harness/backends/torch/models/{module}.py",
            "harness/backends/torch/models/network.py",
        ),
        training=("harness/backends/torch/train.py",),
        data=("harness/backends/torch/data.py",),
        versions=("torch",),
    ),
    "jax": Family(
        model=(
            "harness/backends/jax/models/{module}.py",
            "harness/backends/jax/models/network.py",
        ),
        training=("harness/backends/jax/train.py",),
        data=("harness/backends/jax/data.py",),
        versions=("jax", "flax", "optax"),
    ),
    "julia": Family(
        model=("julia/src/models/{module}.jl", "julia/src/models/layers.jl"),
        training=("julia/src/train.jl", "julia/src/optimizers.jl"),
        data=("julia/src/data.jl",),
        versions=("julia", "engine", "bridge"),
        idiom="Julia in the idiom of Knet.jl",
        idiom_note="The Julia code is written once, in the idiom of Knet.jl, against a small set "
        "of operations (convolution, pooling, gradient and so on). `knet` takes these from Knet.jl "
        "and AutoGrad, `julia-reference` from this project's own engine.",
        import_note="import is the start of Julia inside the Python process and the loading of its "
        "packages, and precompiling them where that had not been done before. Julia compiles what "
        "was not precompiled when it is first used, so in building and the first step.",
    ),
}

EXTRAS: tuple[Extra, ...] = (
    Extra(
        rows=("torch-compile",),
        title="a model and a max pooling that suit the compiler",
        files=(
            "harness/backends/torch/models/lenet5_compiled.py",
            "harness/backends/torch/pooling.py",
        ),
        module="lenet5",
    ),
    Extra(
        rows=("torch-compile",),
        title="a max pooling that suits the compiler",
        files=(
            "harness/backends/torch/models/xraynet_compiled.py",
            "harness/backends/torch/pooling.py",
        ),
        module="xraynet",
    ),
    Extra(
        rows=("jax-s2d",),
        title="convolution and pooling computed on 2x2 blocks of pixels",
        files=("harness/backends/jax/models/lenet5_s2d.py",),
        module="lenet5",
    ),
    Extra(
        rows=("jax-s2d",),
        title="the first convolution and its pooling computed on 2x2 blocks of pixels",
        files=("harness/backends/jax/models/xraynet_s2d.py",),
        module="xraynet",
    ),
    Extra(
        rows=("knet", "julia-reference"),
        title="calling Julia from Python, the price of another language",
        files=(
            "harness/backends/julia/train.py",
            "harness/backends/julia/bridge.py",
            "julia/src/bridge.jl",
            "julia/src/received.jl",
        ),
    ),
    Extra(
        rows=("knet",),
        title="operations from Knet.jl, gradients from AutoGrad",
        files=("julia/knet/src/PipelineBenchKnet.jl", "julia/knet/src/workload.jl"),
    ),
    Extra(
        rows=("knet-idiom",),
        title="training and data loading as Knet's tutorial writes them",
        files=("julia/knet/src/idiom.jl",),
    ),
    Extra(
        rows=("julia-reference",),
        title="an engine; the others have operations, gradients and threads from packages",
        files=("julia/src/standard/*.jl",),
        shown=False,
    ),
)

_REDUCED = (
    "and is not the same arithmetic as the other rows: bfloat16 keeps 8 bits of a number where "
    "float32 keeps 24. Its speed shows what this processor does with numbers half as wide; its "
    "accuracy has to be read beside it."
)

NOTES: dict[str, str] = {
    "torch-channels-last": "is the row `torch` with another order of the numbers in memory. Of "
    "DenseNet-121 both are the same, for whose width `torch` has the channels last too.",
    "torch-bf16": "computes convolutions and matrix products in bfloat16 wherever PyTorch's "
    f"autocast does, with weights, their update and the loss in float32, {_REDUCED}",
    "jax-scan": "is the row `jax` with its steps called by XLA in place of Python. The split lies "
    "in the device's memory; moved images, and those of a split that does not fit in memory, are "
    "laid out in blocks of steps before each block is computed.",
    "jax-bf16": "computes the network in bfloat16, with weights, their update, the statistics of "
    f"batch normalisation and the loss in float32, {_REDUCED}",
    "julia-reference": "is this project's own engine: it computes with Julia's standard library "
    "and BLAS alone. It is not Knet.jl and says nothing of Knet.jl: it is a bound, which "
    "shows what kernels written by hand for these networks reach on this CPU.",
}
"""By row: how a sentence that begins with its title goes on."""

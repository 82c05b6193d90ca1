"""What the harness knows of PyTorch without importing it."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from harness.backends.spec import (
    BackendSpec,
    Family,
    MissingRequirement,
    Practice,
    Variables,
    in_package,
)
from harness.paths import cache_dir

INSTALL = "pip install 'pipeline-bench[torch]'"

_LOWER_PRECISION = (
    "and is not the same arithmetic as the other variants: bfloat16 keeps 8 bits of a number where "
    "float32 keeps 24. Its speed shows what this processor does with numbers half as wide; its "
    "accuracy has to be read beside it."
)


def cpp_toolchain() -> MissingRequirement | None:
    if not any(shutil.which(compiler) for compiler in ("g++", "c++", "clang++")):
        return MissingRequirement("needs a C++ compiler", system_package("g++"))
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return MissingRequirement("needs Python's C headers", system_package("python3-dev"))
    return None


def system_package(name: str) -> str:
    """How to install a package that is called so on Debian."""
    if shutil.which("apt-get"):
        return f"apt-get install {name}"
    return f"install {name} or its like with the system's package manager"


def caches(folder: Path) -> dict[str, str]:
    """Inductor's generated code, Triton's kernels, and the C++ headers that Inductor precompiles.

    The headers lie in the temporary folder, whatever Inductor's own is; from an earlier run they
    would take a quarter to a third off what a cold start compiles.

    Raises:
        OSError: the folder cannot be made.
    """
    headers = folder / "headers"
    headers.mkdir(parents=True, exist_ok=True)
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TMPDIR": str(headers),
    }


def environment(threads: int) -> dict[str, str]:
    """Where no cold start is asked for, the same in the user's cache, from process to process."""
    try:
        return caches(cache_dir() / "torch")
    except OSError:
        return {}  # nobody may write there: PyTorch finds places of its own


TORCH = Family(
    name="torch",
    network=("harness/backends/torch/network.py",),
    training=("harness/backends/torch/train.py",),
    data=("harness/backends/torch/data.py",),
    versions=("torch",),
    variables=Variables(removed=("ATEN_", "PYTORCH_", "TORCH", "TRITON_")),
    color="#D55E00",
    practice=Practice(
        model="a class derived from `nn.Module`: layers are attributes, `forward` is Python",
        training="a Python loop: `loss.backward()`, `optimizer.step()`; operations run at once",
        data="a `Dataset` over the HDF5 file that reads whole batches, iterated by a `DataLoader` "
        "whose sampler is the given order",
        requires=(
            "autograd's dynamic graph",
            "train and eval modes",
            "clearing gradients before each step",
        ),
        by_hand=(
            "learning rates step by step",
            "the `Dataset`, and augmentation from given parameters",
            "loading of the given weights",
        ),
        links=(
            ("nn.Module", "https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html"),
            ("torch.optim", "https://docs.pytorch.org/docs/stable/optim.html"),
            ("DataLoader", "https://docs.pytorch.org/docs/stable/data.html"),
        ),
    ),
)

BACKENDS = (
    BackendSpec(
        name="torch",
        operations="harness.backends.torch.operations:DIALECT",
        order=10,
        find_network=in_package("torch"),
        title="PyTorch",
        family=TORCH,
        factory="harness.backends.torch.train:TorchBackend",
        summary="eager mode, DataLoader over a Dataset, torch.optim",
        packages=("torch",),
        install=INSTALL,
        weight_readers=dict.fromkeys(
            (".pt", ".pth", ".ckpt", ".bin", ".tar"),
            "harness.backends.torch.checkpoint:read_checkpoint",
        ),
        environment=environment,
        caches=caches,
    ),
    BackendSpec(
        name="torch-compile",
        order=11,
        find_network=in_package("torch_compile", "torch"),
        network_code=("harness/backends/torch/pooling.py",),
        title="PyTorch (torch.compile)",
        family=TORCH,
        factory="harness.backends.torch.train:CompiledTorchBackend",
        summary="the same model and loop, forward and loss through torch.compile",
        packages=("torch",),
        install=INSTALL,
        environment=environment,
        caches=caches,
        further_requirement=cpp_toolchain,
        role="tuned",
        base="torch",
        deviation="forward pass and loss compiled by torch.compile (Inductor); LeNet-5 and "
        "xraynet with a max pooling written for the compiler",
    ),
    BackendSpec(
        name="torch-channels-last",
        order=12,
        find_network=in_package("torch"),
        note="is the variant `torch` with another order of the numbers in memory. Of "
        "DenseNet-121 both are the same, for whose width `torch` has the channels last "
        "too.",
        title="PyTorch (channels last)",
        family=TORCH,
        factory="harness.backends.torch.train:ChannelsLastTorchBackend",
        summary="eager mode; the channels of weights and feature maps last in memory",
        packages=("torch",),
        install=INSTALL,
        environment=environment,
        caches=caches,
        by_default=False,
        role="tuned",
        base="torch",
        deviation="weights and feature maps in channels-last memory format",
    ),
    BackendSpec(
        name="torch-bf16",
        order=13,
        find_network=in_package("torch_compile", "torch"),
        network_code=("harness/backends/torch/pooling.py",),
        note="computes convolutions and matrix products in bfloat16 wherever PyTorch's "
        "autocast does, with weights, their update and the loss in float32, "
        f"{_LOWER_PRECISION}",
        precisions=("float32",),
        title="PyTorch (torch.compile, bfloat16)",
        family=TORCH,
        factory="harness.backends.torch.train:Bfloat16TorchBackend",
        summary="torch-compile with autocast: convolutions and matrix products in bfloat16, "
        "weights, update and loss in float32",
        packages=("torch",),
        install=INSTALL,
        environment=environment,
        caches=caches,
        further_requirement=cpp_toolchain,
        by_default=False,
        lower_precision="convolutions and matrix products in bfloat16",
        role="tuned",
        base="torch",
        deviation="torch.compile, and autocast: convolutions and matrix products in bfloat16",
    ),
)

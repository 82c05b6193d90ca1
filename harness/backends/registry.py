"""Which backends exist and whether this machine can run them, found out without importing any."""

from __future__ import annotations

import importlib
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from harness.errors import BenchError, unknown

Role = Literal["plain", "tuned", "bound", "idiom"]
"""What a variant is in a comparison.

plain: the framework as a user writes it; these alone are ranked and head the report.
tuned: a plain variant (its base) with stated deviations, reported as a gain over its base.
bound: a hand-written reference, reported apart as what the processor allows.
idiom: a framework as its own tutorial writes it, under a protocol of its own; in no certificate
and in no ranking.
"""


@dataclass(frozen=True)
class Need:
    """What keeps a backend from running, and what mends it."""

    why: str
    mend: str
    """A command, or what to do in words."""

    def __str__(self) -> str:
        return f"{self.why}; to mend: {self.mend}"


def _cpp_toolchain() -> Need | None:
    if not any(shutil.which(compiler) for compiler in ("g++", "c++", "clang++")):
        return Need("needs a C++ compiler", _system_package("g++"))
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return Need("needs Python's C headers", _system_package("python3-dev"))
    return None


def _system_package(name: str) -> str:
    """How to install a package that is called so on Debian."""
    if shutil.which("apt-get"):
        return f"apt-get install {name}"
    return f"install {name} or its like with the system's package manager"


def _julia(answer: str, *arguments: object) -> Callable[..., Any]:
    """A question to the module that knows Julia; imported, and Julia run, only when asked."""

    def ask(*more: object) -> Any:
        module = importlib.import_module("harness.backends.julia.installation")
        return getattr(module, answer)(*arguments, *more)

    return ask


def _julia_process(package: str | None) -> Callable[[int], dict[str, str]]:
    """Its environment. NumPy's BLAS has no threads there but the one that calls it.

    Julia's BLAS never has more, and Julia's profiler signals the process: threads that are older
    than Julia would not expect that.
    """
    ask = _julia("worker_environment", package)
    return lambda threads: ask(threads) | {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """What the harness knows of a backend before its framework is imported."""

    name: str
    """What a person types."""
    title: str
    """What a report prints."""
    family: str
    """Folder under ``harness/backends``, shared by variants of one framework."""
    factory: str
    """``module:class`` of the :class:`harness.backends.base.Backend`."""
    summary: str
    packages: tuple[str, ...] = ()
    """Python distributions whose versions count, the framework itself first."""
    install: str
    """The command that installs it."""
    further_need: Callable[[], Need | None] = lambda: None
    """Says what else is missing."""
    further_versions: Callable[[], dict[str, str]] = dict
    """Versions of what is no Python distribution."""
    found_at: Callable[[], str] | None = None
    """Where a framework of another language was found; empty: nowhere."""
    environment: Callable[[int], dict[str, str]] = lambda threads: {}
    """What its process needs in its environment to use so many threads."""
    by_default: bool = True
    """Whether it runs when no framework is named; variants of a row run only when asked for."""
    devices: tuple[str, ...] = ("cpu", "gpu")
    """What it can train on, if the machine has it."""
    precisions: tuple[str, ...] = ("float32", "float64")
    models: tuple[str, ...] = ()
    """Modules of the model cards that it has; none: all."""
    reduced: str = ""
    """What it computes with fewer digits than the task asks for; empty: nothing."""
    role: Role = "plain"
    base: str = ""
    """The plain variant that a tuned one is a form of; empty for the other roles."""
    deviation: str = ""
    """How a tuned variant differs from its base, or why an idiom is not comparable: a phrase for
    a table. Empty for plain variants."""

    def __post_init__(self) -> None:
        if (self.role == "tuned") != bool(self.base):
            raise ValueError(f"{self.name}: a tuned variant, and no other, names its base")
        if (self.role == "plain") == bool(self.deviation):
            raise ValueError(f"{self.name}: every variant that is not plain states its deviation")

    @property
    def certified(self) -> bool:
        """Whether it follows the protocol, so that parity with the others can be checked."""
        return self.role != "idiom"

    def need(self) -> Need | None:
        """Why it cannot run here, or None when it can."""
        absent = [name for name in self.packages if util.find_spec(name) is None]
        if absent:
            return Need(f"not installed: {', '.join(absent)}", self.install)
        return self.further_need()

    def missing(self) -> str | None:
        """:meth:`need` in one sentence."""
        need = self.need()
        return None if need is None else str(need)

    def versions(self) -> dict[str, str]:
        """Versions of what is installed of it."""
        found = {name: metadata.version(name) for name in self.packages if util.find_spec(name)}
        return found | self.further_versions()

    def location(self) -> str:
        """Where it was found, or nothing."""
        if self.found_at is not None:
            return self.found_at()
        spec = util.find_spec(self.packages[0]) if self.packages else None
        return str(Path(spec.origin).parent) if spec is not None and spec.origin else ""


_INSTALL_TORCH = "pip install 'pipeline-bench[torch]'"
_INSTALL_JAX = "pip install 'pipeline-bench[jax]'"

BACKENDS: dict[str, BackendSpec] = {
    spec.name: spec
    for spec in (
        BackendSpec(
            name="torch",
            title="PyTorch",
            family="torch",
            factory="harness.backends.torch.train:TorchBackend",
            summary="eager mode, DataLoader over a Dataset, torch.optim",
            packages=("torch",),
            install=_INSTALL_TORCH,
        ),
        BackendSpec(
            name="torch-compile",
            title="PyTorch (torch.compile)",
            family="torch",
            factory="harness.backends.torch.train:CompiledTorchBackend",
            summary="the same model and loop, forward and loss through torch.compile",
            packages=("torch",),
            install=_INSTALL_TORCH,
            further_need=_cpp_toolchain,
            role="tuned",
            base="torch",
            deviation="forward pass and loss compiled by torch.compile (Inductor); LeNet-5 and "
            "xraynet with a max pooling written for the compiler",
        ),
        BackendSpec(
            name="torch-channels-last",
            title="PyTorch (channels last)",
            family="torch",
            factory="harness.backends.torch.train:ChannelsLastTorchBackend",
            summary="eager mode; the channels of weights and feature maps last in memory",
            packages=("torch",),
            install=_INSTALL_TORCH,
            by_default=False,
            role="tuned",
            base="torch",
            deviation="weights and feature maps in channels-last memory format",
        ),
        BackendSpec(
            name="torch-bf16",
            precisions=("float32",),
            title="PyTorch (torch.compile, bfloat16)",
            family="torch",
            factory="harness.backends.torch.train:Bfloat16TorchBackend",
            summary="torch-compile with autocast: convolutions and matrix products in bfloat16, "
            "weights, update and loss in float32",
            packages=("torch",),
            install=_INSTALL_TORCH,
            further_need=_cpp_toolchain,
            by_default=False,
            reduced="convolutions and matrix products in bfloat16",
            role="tuned",
            base="torch",
            deviation="torch.compile, and autocast: convolutions and matrix products in bfloat16",
        ),
        BackendSpec(
            name="jax",
            title="JAX (Flax NNX)",
            family="jax",
            factory="harness.backends.jax.train:JaxBackend",
            summary="Flax NNX and optax, one jitted step with donated state",
            packages=("jax", "flax", "optax"),
            install=_INSTALL_JAX,
        ),
        BackendSpec(
            name="jax-s2d",
            title="JAX (space-to-depth)",
            family="jax",
            factory="harness.backends.jax.train:SpaceToDepthJaxBackend",
            summary="the same step; convolutions of few channels, and their pooling, on 2x2 blocks "
            "as one matrix product",
            packages=("jax", "flax", "optax"),
            install=_INSTALL_JAX,
            role="tuned",
            base="jax",
            deviation="space-to-depth: convolutions of few channels, and their pooling, rewritten "
            "by hand as one matrix product on 2x2 blocks",
        ),
        BackendSpec(
            name="jax-scan",
            title="JAX (scan)",
            family="jax",
            factory="harness.backends.jax.train:ScanJaxBackend",
            summary="the same step; all steps of an epoch in one compiled loop, lax.scan",
            packages=("jax", "flax", "optax"),
            install=_INSTALL_JAX,
            by_default=False,
            role="tuned",
            base="jax",
            deviation="all steps of an epoch in one jitted lax.scan, the split in device memory",
        ),
        BackendSpec(
            name="jax-bf16",
            precisions=("float32",),
            title="JAX (bfloat16)",
            family="jax",
            factory="harness.backends.jax.train:Bfloat16JaxBackend",
            summary="the same step, the network computed in bfloat16; weights, update, statistics "
            "of the batches and loss in float32",
            packages=("jax", "flax", "optax"),
            install=_INSTALL_JAX,
            by_default=False,
            reduced="the network in bfloat16",
            role="tuned",
            base="jax",
            deviation="the network computed in bfloat16",
        ),
        BackendSpec(
            name="knet",
            devices=("cpu",),
            title="Julia (Knet.jl)",
            family="julia",
            factory="harness.backends.julia.train:KnetBackend",
            summary="Knet.jl and AutoGrad, driven through juliacall",
            install="bench setup knet",
            further_need=_julia("need_for_knet"),
            further_versions=_julia("versions_with", "Knet"),
            found_at=_julia("location", "Knet"),
            environment=_julia_process("Knet"),
        ),
        BackendSpec(
            name="knet-idiom",
            title="Julia (Knet.jl, tutorial style)",
            family="julia",
            factory="harness.backends.julia.train:KnetIdiomBackend",
            summary="Knet as its tutorial writes it: minibatch, its own optimisers, progress",
            install="bench setup knet",
            further_need=_julia("need_for_knet"),
            further_versions=_julia("versions_with", "Knet"),
            found_at=_julia("location", "Knet"),
            environment=_julia_process("Knet"),
            by_default=False,
            role="idiom",
            deviation="Knet's minibatch shuffles the images and drops the protocol's order; its "
            "momentum folds the learning rate into the velocity; the data set is normalised once, "
            "in advance",
        ),
        BackendSpec(
            name="julia-reference",
            devices=("cpu",),
            title="Julia (reference engine)",
            family="julia",
            factory="harness.backends.julia.train:JuliaBackend",
            summary="the same Julia models on a hand-written engine: "
            "standard library and BLAS, no packages; not Knet",
            install="bench setup julia",
            further_need=_julia("need_for_julia"),
            further_versions=_julia("versions_with"),
            found_at=_julia("location"),
            environment=_julia_process(None),
            role="bound",
            deviation="kernels written by hand for these networks on Julia's standard library and "
            "BLAS; no framework",
        ),
    )
}


ALIASES = {"julia": "julia-reference"}
"""Names that may still be typed, and stand in runs of earlier versions -> what they are called."""


def canonical(name: str) -> str:
    """The present name of a backend, whatever it was called when it was typed or stored."""
    return ALIASES.get(name, name)


FrameworkName = Annotated[str, AfterValidator(canonical)]
"""A field of a record that holds a backend's name."""


def role_of(name: str) -> Role:
    """Role of the backend called ``name``; one that this version does not know is plain."""
    spec = BACKENDS.get(canonical(name))
    return spec.role if spec else "plain"


def find_backend(name: str) -> BackendSpec:
    """The backend called ``name``.

    Raises:
        BenchError: no such backend; the message lists those there are.
    """
    try:
        return BACKENDS[canonical(name)]
    except KeyError:
        raise unknown("framework", name, [*BACKENDS, *ALIASES]) from None


def choose_backends(
    names: Sequence[str],
    *,
    skip_unavailable: bool,
    refusal: Callable[[BackendSpec], str | None] = lambda spec: None,
) -> tuple[tuple[BackendSpec, ...], dict[str, str]]:
    """Those of ``names`` that can run, and for the others why not.

    Without names: every backend that is ready and runs by default. ``refusal`` says why one that
    is installed cannot do what is asked.

    Raises:
        BenchError: an unknown name; one that cannot run, unless ``skip_unavailable``; none at all.
    """
    # A name and its alias are one backend.
    specs = list(dict.fromkeys(map(find_backend, names))) or [
        spec for spec in BACKENDS.values() if spec.by_default
    ]
    reasons = {spec.name: r for spec in specs if (r := spec.missing() or refusal(spec)) is not None}
    if reasons and names and not skip_unavailable:
        listed = "; ".join(f"'{name}' {reason}" for name, reason in reasons.items())
        raise BenchError(
            f"framework {listed} (or pass --skip-unavailable to go on without; "
            f"known: {', '.join(BACKENDS)})"
        )
    ready = tuple(spec for spec in specs if spec.name not in reasons)
    if not ready:
        listed = "; ".join(f"'{name}' {reason}" for name, reason in reasons.items())
        raise BenchError(f"no framework is ready: {listed}")
    return ready, reasons

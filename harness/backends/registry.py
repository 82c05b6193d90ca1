"""Which backends exist and whether this machine can run them, found out without importing any."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import metadata, util
from pathlib import Path

from harness.errors import BenchError


def _no_further_need() -> str | None:
    return None


def _cpp_toolchain() -> str | None:
    if not any(shutil.which(compiler) for compiler in ("g++", "c++", "clang++")):
        return "needs a C++ compiler: install g++ or clang"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "needs Python's C headers: install python3-dev"
    return None


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
    packages: tuple[str, ...]
    """Distributions whose versions count, the framework itself first."""
    install: str
    """The command that installs it."""
    additions: tuple[str, ...] = ()
    """Files below the family's folder that only this variant uses."""
    further_need: Callable[[], str | None] = _no_further_need
    """Says what else is missing, or None."""

    def missing(self) -> str | None:
        """Why it cannot run here, in words, or None when it can."""
        absent = [name for name in self.packages if util.find_spec(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)}; install with: {self.install}"
        return self.further_need()

    def versions(self) -> dict[str, str]:
        """Installed versions of its packages."""
        return {name: metadata.version(name) for name in self.packages if util.find_spec(name)}


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
            additions=("models/lenet5_compiled.py", "pooling.py"),
            packages=("torch",),
            install=_INSTALL_TORCH,
            further_need=_cpp_toolchain,
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
            summary="the same network; convolution and pooling computed on 2x2 blocks of pixels",
            additions=("models/lenet5_s2d.py",),
            packages=("jax", "flax", "optax"),
            install=_INSTALL_JAX,
        ),
    )
}


def find_backend(name: str) -> BackendSpec:
    """The backend called ``name``.

    Raises:
        BenchError: no such backend; the message lists those there are.
    """
    try:
        return BACKENDS[name]
    except KeyError:
        close = get_close_matches(name, BACKENDS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        known = ", ".join(BACKENDS)
        raise BenchError(f"unknown framework '{name}'{hint} (known: {known})") from None


def choose_backends(
    names: Sequence[str], *, skip_unavailable: bool
) -> tuple[tuple[BackendSpec, ...], dict[str, str]]:
    """Those of ``names`` that can run, and for the others why not.

    Without names: every backend that is ready.

    Raises:
        BenchError: an unknown name; one that cannot run, unless ``skip_unavailable``; none at all.
    """
    specs = [find_backend(name) for name in names] or list(BACKENDS.values())
    reasons = {spec.name: reason for spec in specs if (reason := spec.missing()) is not None}
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

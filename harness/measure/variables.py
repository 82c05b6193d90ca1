"""Environment variables that decide how fast frameworks and their libraries compute.

A worker inherits none of them by chance: the protocol sets what it needs and removes the rest.
What must pass, because it says where something lies or which device is meant, is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REMOVED = (
    # the frameworks and their compilers
    "ATEN_", "PYTORCH_", "TORCH", "TRITON_", "JAX_", "FLAX_", "XLA_", "LIBTPU_", "JULIA_",
    "KNET_", "PYTHON_JULIA",
    # TensorFlow's that XLA reads; Terraform's begin with TF_ too
    "TF_CPP_", "TF_CUDNN_", "TF_ENABLE_", "TF_GPU_", "TF_NUM_", "TF_XLA_",
    # their libraries
    "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_", "GOTO_", "BLIS_", "VECLIB_",
    "NUMEXPR_", "NPY_", "CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "LD_PRELOAD", "GLIBC_TUNABLES",
    "MALLOC_",
    # Python itself
    "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC",
)  # fmt: skip
"""Beginnings of names."""
_PLACES = (
    "CUDA_HOME", "CUDA_PATH", "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS",
    "JULIA_CUDA_USE_BINARYBUILDER", "JULIA_DEPOT_PATH", "JULIA_LOAD_PATH", "JULIA_PKG_SERVER",
    "JULIA_PROJECT", "JULIA_SSL_CA_ROOTS_PATH", "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES", "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT",
    "PYTHON_JULIAPKG_",
)  # fmt: skip
"""Of these, what says where things lie; passed on."""
_PASSED = (
    "GLIBC_TUNABLES", "JULIA_LLVM_ARGS", "LD_PRELOAD", "MALLOC_", "OPENBLAS_CORETYPE",
    "PYTHON_JULIACALL_", "XLA_PYTHON_CLIENT_",
)  # fmt: skip
"""Of these, what some machines cannot do without; passed on, and named in the report."""

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|KEY", re.IGNORECASE)
"""In names of variables whose values are never stored."""
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]*@", re.IGNORECASE)


def for_worker(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what would change how a worker computes."""
    return {name: value for name, value in environment.items() if not is_removed(name)}


def is_removed(name: str) -> bool:
    return name.startswith(_REMOVED) and not name.startswith((*_PLACES, *_PASSED))


def recorded(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What of ``environment`` reaches the workers, and what was kept from them."""
    known = {n: _public(n, v) for n, v in sorted(environment.items()) if n.startswith(_REMOVED)}
    return {
        "variables": {n: v for n, v in known.items() if not is_removed(n)},
        "variables_removed": {n: v for n, v in known.items() if is_removed(n)},
    }


def _public(name: str, value: str) -> str:
    """A value as it may be stored: no secret, and no user in a URL."""
    return "(not stored)" if _SECRET.search(name) else _USER.sub(r"\1", value)


def decisive(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the recorded ``variables`` that may change speeds or results."""
    return {name: value for name, value in variables.items() if not name.startswith(_PLACES)}

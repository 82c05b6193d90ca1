"""Environment variables that decide how fast frameworks and their libraries compute.

A worker inherits none of them by chance: the protocol sets what it needs and removes the rest.
What must pass, because it says where something lies or which device is meant, is recorded. Each
framework names its own (:class:`harness.backends.spec.Variables`); those below are of libraries
that several share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.backends.spec import Variables
from harness.plugins import families

SHARED = Variables(
    removed=(
        "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_", "GOTO_", "BLIS_",
        "VECLIB_", "NUMEXPR_", "NPY_", "CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "LD_PRELOAD",
        "GLIBC_TUNABLES", "MALLOC_",
        # Python itself
        "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONPROFILEIMPORTTIME",
        "PYTHONTRACEMALLOC",
    ),
    places=(
        "CUDA_HOME", "CUDA_PATH", "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES",
    ),
    passed=("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_", "OPENBLAS_CORETYPE"),
)  # fmt: skip
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|KEY", re.IGNORECASE)
"""In names of variables whose values are never stored."""
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]*@", re.IGNORECASE)


def for_worker(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what would change how a worker computes."""
    known = _known()
    return {name: value for name, value in environment.items() if not known.removes(name)}


def recorded(environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What of ``environment`` reaches the workers, and what was kept from them."""
    known = _known()
    found = {
        name: _public(name, value)
        for name, value in sorted(environment.items())
        if name.startswith(known.removed)
    }
    return {
        "variables": {n: v for n, v in found.items() if not known.removes(n)},
        "variables_removed": {n: v for n, v in found.items() if known.removes(n)},
    }


def decisive(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the recorded ``variables`` that may change speeds or results."""
    places = _known().places
    return {name: value for name, value in variables.items() if not name.startswith(places)}


def _public(name: str, value: str) -> str:
    """A value as it may be stored: no secret, and no user in a URL."""
    return "(not stored)" if _SECRET.search(name) else _USER.sub(r"\1", value)


def _known() -> Variables:
    every = [SHARED, *(family.variables for family in families())]
    return Variables(
        removed=tuple(name for each in every for name in each.removed),
        places=tuple(name for each in every for name in each.places),
        passed=tuple(name for each in every for name in each.passed),
    )

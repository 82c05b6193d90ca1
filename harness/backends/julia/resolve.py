"""``python -m harness.backends.julia.resolve WHAT``: have juliapkg install Julia and packages.

In a process of its own, because juliapkg and the Julia that it starts write their progress, and a
page of details when they fail, to its output.
"""

from __future__ import annotations

import sys
from subprocess import CalledProcessError

KNET = {"uuid": "1902f260-5fb4-5aff-8c31-6271790ab950", "version": "=1.4.10"}
# That Knet needs CUDA.jl 1 to 3, of which none resolves from Julia 1.10 on.
JULIA = "~1.8, ~1.9"


def resolve(what: str) -> None:
    """Install for ``what``, ``"julia"`` or ``"knet"``; PythonCall comes with juliacall.

    Always from the beginning: juliapkg believes its own record of what it installed. Downloaded
    and precompiled packages are kept by Julia, so an interrupted installation continues.
    """
    import juliapkg

    juliapkg.require_julia(JULIA)
    if what == "knet":
        juliapkg.add("Knet", **KNET)
    juliapkg.resolve(force=True)


if __name__ == "__main__":
    try:
        resolve(sys.argv[1])
    except CalledProcessError as error:  # Julia has said why
        sys.exit(error.returncode)
    except Exception as error:
        sys.exit(f"ERROR: {error}")

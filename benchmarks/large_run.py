"""How long reports, comparisons and lists take of a run with many cells, and their memory.

    python benchmarks/large_run.py [--cells 10000] [--folder DIR]

The run is made up: 5 variants with 2 networks on 5 data sets, from as many seeds as make that many
cells, 20 epochs each, with predictions. ``--folder`` keeps it, or takes what an earlier call kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))
from made_up import run_maker

from harness.measure.conditions import Conditions

FRAMEWORKS = ("torch", "torch-compile", "jax", "jax-s2d", "julia-reference")
MODELS = ("lenet5", "xraynet")
DATASETS = ("a", "b", "c", "d", "e")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        one, two = folder / "one", folder / "two"
        if not one.exists():
            make(folder, one.name, chosen.cells)
            shutil.copytree(one, two)
        print(f"{'command':<28}{'seconds':>9}{'MiB':>7}")
        measure("bench list runs", "list", "runs", folder)
        measure("bench report", "report", one)
        measure("bench compare", "compare", one, two)


def make(folder: Path, name: str, cells: int) -> None:
    """A run of about ``cells`` cells."""
    os.fsync = lambda descriptor: None  # of twenty thousand files that may be lost
    seeds = max(1, cells // (len(FRAMEWORKS) * len(MODELS) * len(DATASETS)))
    run_maker(folder)(
        name,
        frameworks=FRAMEWORKS,
        models=MODELS,
        datasets=DATASETS,
        seeds=tuple(range(seeds)),
        epochs=20,
        conditions=lambda cell, number: Conditions(gemm_gflops=100.0, other_load=0.05),
    )


def measure(title: str, *words: object) -> None:
    """Print seconds and peak memory of ``bench WORDS`` and the processes that it starts."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "harness", *map(str, words)]
    code = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - before
    kib, returned = map(int, done.stdout.split())
    if returned:
        sys.exit(f"{title}: exit code {returned}")
    print(f"{title:<28}{seconds:>9.1f}{kib / 1024:>7.0f}", flush=True)


if __name__ == "__main__":
    main()

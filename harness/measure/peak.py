"""What the machine gives at most: the speed of matrix products and of copies, in NumPy.

Run as a program it is the child of a :class:`Gauge`: a process of its own, because a BLAS sizes its
threads when it is imported, and so that no thread of it lives where frameworks are timed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self, cast

import numpy as np

from harness.errors import BenchError

Precision = Literal["float32", "float64"]
_SIDE = 1024
"""Of the square matrices: large enough that a BLAS is at its best, small enough for 10 ms."""
_COPIED_BYTES = 2**27
"""Far beyond the caches."""
_REPEATS = 8
_QUICK_REPEATS = 3


class Gauge:
    """A child process that measures, on the given processors, whenever it is asked to."""

    def __init__(self, *, threads: int, cpus: tuple[int, ...]) -> None:
        # Late, because the worker's own child needs none of this module.
        from harness.worker import thread_settings

        self._child = subprocess.Popen(
            [sys.executable, "-m", "harness.measure.peak"],
            # OpenBLAS's threads would go on spinning for a while, into what is timed next.
            env={**os.environ, **thread_settings(threads), "OPENBLAS_THREAD_TIMEOUT": "4"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        try:
            self._ask("pin", list(cpus[:threads]))
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def gemm_gflops(self, precision: Precision) -> float:
        """Present speed of a matrix product, 1e9 operations a second: the mean of a few."""
        return cast(float, self._ask("gemm", precision, _QUICK_REPEATS)["mean"])

    def peak_gemm_gflops(self, precision: Precision) -> float:
        """The best of several matrix products, 1e9 operations a second."""
        return cast(float, self._ask("gemm", precision, _REPEATS)["best"])

    def bandwidth_gb_s(self) -> float:
        """The best of several copies by all threads, 1e9 bytes a second, read and written."""
        return cast(float, self._ask("copy"))

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._child.communicate(timeout=5)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def _ask(self, *question: object) -> Any:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(question) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise BenchError(
                "the process that measures the machine's matrix products ended: its message stands "
                "above; out of memory?"
            )
        return json.loads(answer)


def _pin(cpus: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _gemm(precision: Precision, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    a, b = (rng.random((_SIDE, _SIDE)).astype(precision) for _ in range(2))
    product = a @ b
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, b, out=product)
        seconds.append(time.perf_counter() - start)
    work = 2 * _SIDE**3 / 1e9
    return {"best": work / min(seconds), "mean": work * repeats / sum(seconds)}


def _copy() -> float:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    source = np.ones(_COPIED_BYTES // 8)
    target = np.zeros_like(source)
    pieces = list(
        zip(np.array_split(target, threads), np.array_split(source, threads), strict=True)
    )
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_REPEATS // 2):
            start = time.perf_counter()
            list(pool.map(lambda piece: np.copyto(*piece), pieces))
            best = min(best, time.perf_counter() - start)
    return float(2 * source.nbytes / best / 1e9)


def _serve() -> None:
    actions: dict[str, Callable[..., object]] = {"pin": _pin, "gemm": _gemm, "copy": _copy}
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(actions[verb](*arguments)), flush=True)


if __name__ == "__main__":
    _serve()

"""What the machine gives at most: the speed of matrix products and of copies, in NumPy.

Run as a program it is the child of a :class:`MachineProbe`, a process of its own because a BLAS
sizes its threads when it is imported, and so that no thread of it lives where frameworks are timed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self, cast

import numpy as np

from harness.errors import ProbeError
from harness.processes import follow_parent, kill, start, time_limit

Precision = Literal["float32", "float64"]
_SIDE = 1024
"""Of the square matrices: large enough that a BLAS is at its best, small enough for 10 ms."""
_COPIED_BYTES = 2**27
"""Far beyond the caches."""
_REPEATS = 8
_STALE_COPIES = 4
"""Copies in a row that are no faster than the best before, after which no further one is made."""
_MOST_COPIES = 24
_FASTER = 1.01
"""What counts as faster."""


STOP_GRACE_S = 5.0
"""For the child to end by itself."""
MOST_FAILURES = 2


class MachineProbe:
    """A child process that measures, on the given processors, whenever it is asked to.

    It starts with the first question. One that dies, or does not answer within ``limit_s``
    seconds, is replaced once; then nothing more is measured.

    Raises:
        ProbeError: by every question, where there is no answer.
    """

    def __init__(
        self,
        *,
        threads: int,
        cpus: tuple[int, ...],
        environment: Mapping[str, str] = os.environ,
        limit_s: float = 120.0,
    ) -> None:
        self._threads = threads
        self._environment = environment
        self._cpus = cpus
        self._limit_s = limit_s
        self._child: subprocess.Popen[str] | None = None
        self._failures = 0
        self.best_gemm_gflops: dict[Precision, float] = {}
        """Of everything measured so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stop()
        else:  # nobody waits for it any more
            self._end()

    def gemm_gflops(self, precision: Precision) -> float:
        """Present speed of a matrix product, 1e9 operations a second, by one of them.

        The mean of two varied as much (standard deviations of the logarithm: 0.065 and 0.060) and
        took 79 ms, not 47.
        """
        return self._gemm(precision, 1)

    def peak_gemm_gflops(self, precision: Precision) -> float:
        """The best of several matrix products, 1e9 operations a second."""
        return self._gemm(precision, _REPEATS)

    def _gemm(self, precision: Precision, repeats: int) -> float:
        found = cast(float, self._ask("gemm", precision, repeats))
        best = max(self.best_gemm_gflops.get(precision, 0.0), found)
        self.best_gemm_gflops[precision] = best
        return found

    def bandwidth_gb_s(self) -> float:
        """The best of copies by all threads, 1e9 bytes a second, read and written.

        Repeated until it no longer improves.
        """
        return cast(float, self._ask("copy"))

    def stop(self) -> None:
        """End the process, by force if it does not end by itself."""
        try:
            if self._child is not None:
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    self._child.communicate(timeout=STOP_GRACE_S)
        finally:
            self._end()

    def _end(self) -> None:
        if self._child is None:
            return
        kill(self._child)
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a question that could not be sent
                pipe.close()
        self._child = None

    def _ask(self, *question: object) -> Any:
        while self._failures < MOST_FAILURES:
            try:
                if self._child is None:
                    self._child = self._start()
                    self._exchange(self._child, "pin", list(self._cpus[: self._threads]))
                return self._exchange(self._child, *question)
            except (OSError, ValueError):
                self._failures += 1
                self._end()
        raise ProbeError(
            "the process that measures the machine's matrix products ended, or did not answer "
            f"within {self._limit_s:g} s"
        )

    def _start(self) -> subprocess.Popen[str]:
        # Late, because the worker's own child needs none of this module.
        from harness.processes import thread_settings

        return start(
            "harness.measure.probe",
            # OpenBLAS's threads would go on spinning for a while, into what is timed next.
            env={
                **self._environment,
                **thread_settings(self._threads),
                "OPENBLAS_THREAD_TIMEOUT": "4",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _exchange(self, child: subprocess.Popen[str], *question: object) -> Any:
        """Raises OSError or ValueError when the child ends, by itself or at the time limit."""
        assert child.stdin is not None
        assert child.stdout is not None
        with time_limit(self._limit_s, functools.partial(kill, child)):
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())


def _pin(cpus: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


@functools.cache
def _matrices(precision: Precision) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two and their product, so that a question begins with what it measures."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((_SIDE, _SIDE)).astype(precision) for _ in range(2))
    return a, b, a @ b


def _gemm(precision: Precision, repeats: int) -> float:
    """The best of so many."""
    a, b, product = _matrices(precision)
    # Not counted: caches are cold after a round of a framework, and threads asleep.
    np.matmul(a[: _SIDE // 4], b, out=product[: _SIDE // 4])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.matmul(a, b, out=product)
        seconds.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / 1e9 / min(seconds)


def _copy() -> float:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    source = np.ones(_COPIED_BYTES // 8)
    target = np.zeros_like(source)
    pieces = list(
        zip(np.array_split(target, threads), np.array_split(source, threads), strict=True)
    )
    best = np.inf
    with ThreadPoolExecutor(threads) as pool:
        stale = 0
        for _ in range(_MOST_COPIES):
            start = time.perf_counter()
            list(pool.map(lambda piece: np.copyto(*piece), pieces))
            seconds = time.perf_counter() - start
            stale = 0 if best > _FASTER * seconds else stale + 1
            best = min(best, seconds)
            if stale == _STALE_COPIES:
                break
    return float(2 * source.nbytes / best / 1e9)


def _serve() -> None:
    actions: dict[str, Callable[..., object]] = {"pin": _pin, "gemm": _gemm, "copy": _copy}
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        print(json.dumps(actions[verb](*arguments)), flush=True)


if __name__ == "__main__":
    follow_parent(sys.argv[1])
    _serve()

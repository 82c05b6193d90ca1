"""Julia's sampling profiler, its stacks by the common names of operations."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from harness.measure.operations import Operation

# By function and file of a frame: our engine's, then Knet's and those of the packages below it.
_FRAMES: tuple[tuple[Operation, str], ...] = (
    ("convolution", r"/reference/src/(convolution|direct)\.jl$"),
    ("pooling", r"/reference/src/pooling\.jl$"),
    ("normalisation", r"/reference/src/batchnorm\.jl$"),
    ("activation", r"/reference/src/elementwise\.jl$"),
    ("matrix product", r"/reference/src/dense\.jl$"),
    ("layout", r"/reference/src/concatenation\.jl$"),
    ("loss", r"/reference/src/loss\.jl$"),
    ("optimiser", r"/src/optimizers\.jl$"),
    ("data", r"^(inputs|targets)!? "),
    ("pooling", r"NNlib/.*[pP]ool|^#?pool.* .*Knet/.*/conv\.jl$"),
    ("convolution", r"NNlib/.*([cC]onv|gemm\.jl)|^#?conv4.* .*Knet/.*/conv\.jl$"),
    ("normalisation", r"Knet/.*/batchnorm\.jl$|^batchnorm .*/PipelineBenchKnet\.jl$"),
    ("loss", r"Knet/.*/(loss|softmax)\.jl$|^cross_entropy .*/PipelineBenchKnet\.jl$"),
    ("activation", r"Knet/.*/activation\.jl$|AutoGrad/.*/unbroadcast\.jl$"),
    ("layout", r"AutoGrad/.*/cat\.jl$"),
    ("matrix product", r"LinearAlgebra/.*/(matmul|blas)\.jl$"),
)
# Knet's layers add a bias, activate and send the gradient back through both by broadcasting alone.
_BROADCAST = r" \./broadcast\.jl$|^(broadcasted|tanh) "
_IDLE = ("jl_task_get_next ", "barrier! ")  # without a task, or waiting for another thread
_PROFILING_SIGNAL = 10  # SIGUSR1 on Linux


def operation_of(stack: Sequence[str]) -> Operation | None:
    """What a thread does, by its frames from the innermost outwards; None: it waits for work."""
    if any(frame.startswith(_IDLE) for frame in stack):
        return None
    for frame in stack:
        for operation, pattern in _FRAMES:
            if re.search(pattern, frame):
                return operation
    return "activation" if any(re.search(_BROADCAST, frame) for frame in stack) else "other"


def divide(samples: str, total: float) -> dict[Operation, float]:
    """``total`` seconds by operation, from what Julia's ``sampler.stop`` returns.

    A sample counts in parts to each thread that works; where none does, as ``other``.
    """
    seen: dict[Operation, float] = defaultdict(float)
    for sample in filter(None, samples.split("\n")):
        count, *stacks = sample.split("\f")
        found = [operation_of(stack.split("\t")[1:]) for stack in stacks]
        working = [operation for operation in found if operation is not None] or ["other"]
        for operation in working:
            seen[operation] += int(count) / len(working)
    every = sum(seen.values())
    return {operation: total * count / every for operation, count in seen.items()}


def is_safe() -> bool:
    """Whether the profiler's signal finds nobody but Julia, which waits for it.

    A thread that was there before Julia and does not hold the signal back would end the process.
    Julia's own that waits for it looks the same to Linux: one is as it should be.
    """
    if sys.platform != "linux":
        return False
    masks = [
        re.search(r"^SigBlk:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
        for status in Path("/proc/self/task").glob("*/status")
    ]
    held_back = [mask and int(mask[1], 16) >> (_PROFILING_SIGNAL - 1) & 1 for mask in masks]
    return held_back.count(1) >= len(held_back) - 1

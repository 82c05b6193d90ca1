"""PyTorch's profiler, its operators under the common names."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity

from harness.measure.operations import Operation

# By operators, their nodes in the backward pass and words of compiled kernels. The first that
# fits counts: a DataLoader's batches are data whatever they are made with.
_PATTERNS: tuple[tuple[Operation, re.Pattern[str]], ...] = (
    ("data", re.compile(r"DataLoader")),
    ("optimiser", re.compile(r"^Optimizer\.|_fused_(sgd|adam|adamw)_|_foreach_")),
    ("layout", re.compile(r"(^aten::|_)(clone|contiguous|cat|transpose_copy)(_|$)|^CatBackward")),
    ("convolution", re.compile(r"conv(olution|2d)|^Convolution")),
    ("normalisation", re.compile(r"batch_norm|^(Native|Cudnn)?BatchNorm")),
    ("pooling", re.compile(r"pool|Pool|(^aten::|_)mean(_|$)|^MeanBackward")),
    ("activation", re.compile(r"(^aten::|_)(tanh|relu|threshold|hardtanh)(_|$)|^(Tanh|Relu)Back")),
    (
        "loss",
        re.compile(
            r"cross_entropy|nll_loss|log_softmax|(^aten::|_)(log_sigmoid|softplus)|"
            r"^(NllLoss|LogSoftmax|BinaryCrossEntropy)"
        ),
    ),
    (
        "matrix product",
        re.compile(r"(^aten::|::_?|_)(linear|addmm|matmul|bmm|mm)(_|$)|^(Addmm|Mm|Linear)Backward"),
    ),
)
# The scaling of the images, where no other operator calls them.
_SCALING = ("aten::to", "aten::div_", "aten::sub_")
_SCALING_KERNEL = {"to_copy", "div", "sub"}
_KERNEL = re.compile(r"(?:^|_)(?:cpp|triton_[a-z]+)_fused_(?P<words>.*)_\d+$")
_NODE = "autograd::engine::evaluate_function: "


def operation_of(names: tuple[str, ...]) -> Operation:
    """What an event is part of, by its name and those of the events it lies in, outwards."""
    for name in names:
        name = name.removeprefix(_NODE)
        if (kernel := _KERNEL.search(name)) is not None:
            return _operation_of_kernel(f"_{kernel['words']}_")
        for operation, pattern in _PATTERNS:
            if pattern.search(name):
                return operation
    return "data" if names[-1] in _SCALING else "other"


def _operation_of_kernel(words: str) -> Operation:
    """Of a kernel that the compiler made of operators called ``words``: theirs, if it is one."""
    found = {operation for operation, pattern in _PATTERNS if pattern.search(words)}
    if len(found) == 1:
        return found.pop()
    scaling = not found and all(words.find(word) >= 0 for word in _SCALING_KERNEL)
    return "data" if scaling else "other"


def seconds_by_operation(
    train: Callable[[], object], device: torch.device
) -> dict[Operation, float]:
    """How the seconds of ``train`` divide, of the thread that calls it or of the GPU."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        started = time.perf_counter()
        train()
        total = time.perf_counter() - started
    return divide(profiler.events() or (), total, on_gpu=on_gpu)


def divide(
    events: Iterable[FunctionEvent], total: float, *, on_gpu: bool = False
) -> dict[Operation, float]:
    """``total`` seconds by operation; what no event accounts for is ``other``.

    Every event counts without those inside it. On the processor only the events of the training
    thread count: what others do meanwhile costs no time of its own.
    """
    events = list(events)
    thread = _busiest_thread(events)
    seconds: dict[Operation, float] = defaultdict(float)
    for event in events:
        if not on_gpu and event.thread != thread:
            continue
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        seconds[operation_of(tuple(_outwards(event)))] += own * 1e-6
    seconds["other"] += max(0.0, total - sum(seconds.values()))
    return dict(seconds)


def _outwards(event: FunctionEvent | None) -> Iterable[str]:
    while event is not None:
        yield event.name
        event = event.cpu_parent


def _busiest_thread(events: Iterable[FunctionEvent]) -> int | None:
    spent: dict[int, float] = defaultdict(float)
    for event in events:
        spent[event.thread] += event.self_cpu_time_total
    return max(spent, key=spent.__getitem__, default=None)

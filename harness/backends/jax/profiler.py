"""JAX's profiler, the operations of XLA under the common names.

The trace says which thread was busy when, and with which instruction of the compiled program. The
program says for each instruction which JAX primitive it came from, called by which functions.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
from jax.profiler import ProfileData

from harness.backends.jax.data import READING
from harness.measure.operations import Operation

# By functions on the stack of an instruction, the innermost that fits.
_FUNCTIONS: tuple[tuple[Operation, re.Pattern[str]], ...] = (
    ("data", re.compile(r"\.normalize$")),
    ("loss", re.compile(r"cross_entropy")),
    ("normalisation", re.compile(r"^BatchNorm\.")),
    ("pooling", re.compile(r"^((avg|max)_pool|pool|first_largest)\b")),
    ("layout", re.compile(r"^_(blocks_to_channels|block_kernel|patches)$")),
    ("convolution", re.compile(r"^(Pointwise)?Conv\.|^convolve_blocks$")),
    ("matrix product", re.compile(r"^Linear\.")),
    ("optimiser", re.compile(r"update_fn|train_step\.<locals>")),
)
# By primitive, where the functions say no more than that it is a network.
_PRIMITIVES: dict[str, Operation] = {
    "conv_general_dilated": "convolution",
    "dot_general": "matrix product",
    "tanh": "activation",
    "max": "activation",
    "select_n": "activation",  # ReLU's slope
    "mul": "activation",  # a slope times the gradient
    "sub": "activation",  # tanh's slope
    "concatenate": "layout",
}
_PRIMITIVES_FORWARD: dict[str, Operation] = {
    "reduce_sum": "pooling",  # the mean of a feature map; backwards it is the gradient of a bias
}
# What takes no time of its own beside other work in one loop, such as the bias of a layer.
_IN_PASSING = {"add", "add_any", "convert_element_type", "broadcast_in_dim", "reshape"}
_MOVES = {"transpose", "copy", "bitcast", "broadcast", "reshape", "slice", "pad", "concatenate"}
_NEUTRAL = {"parameter", "constant", "tuple", "get-tuple-element", "iota", *_MOVES}
_HEAVY: dict[str, Operation] = {
    "convolution": "convolution",
    "dot": "matrix product",
    "gather": "data",
}

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.$-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%?([\w.$-]+) = .*?[\])}] ([a-z][\w-]*)\(")
_CALLS = re.compile(r"\b(?:calls|to_apply)=%?([\w.$-]+)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_FRAME = re.compile(r"stack_frame_id=(\d+)")


class Instruction(NamedTuple):
    """What the text of a program says of one of its instructions."""

    opcode: str
    primitive: str
    """Of JAX; empty where XLA put it in by itself."""
    backward: bool
    functions: tuple[str, ...]
    """Those that called the primitive, the innermost first."""
    calls: str
    """The computation of a fusion; empty for all others."""


@dataclass(frozen=True)
class Program:
    """A compiled program: its instructions by name and by the computation they are in."""

    instructions: Mapping[str, Instruction]
    computations: Mapping[str, tuple[str, ...]]

    def operation(self, name: str) -> Operation:
        """What an instruction is part of; a fusion of several kinds of work is ``other``."""
        instruction = self.instructions.get(name)
        if instruction is None:
            return "other"
        inside = [self.instructions[i] for i in self.computations.get(instruction.calls, ())]
        for each in (instruction, *inside):
            if each.opcode in _HEAVY:
                return _operation_of(each) or _HEAVY[each.opcode]
        working = [each for each in inside or [instruction] if each.opcode not in _NEUTRAL]
        if not working:
            return _only({_operation_of(each) for each in inside or [instruction]}) or "layout"
        telling = [each for each in working if each.primitive not in _IN_PASSING]
        return _only({_operation_of(each) for each in telling or working}) or "other"


def _only(found: set[Operation | None]) -> Operation | None:
    known = found - {None}
    return known.pop() if len(known) == 1 else None


def _operation_of(instruction: Instruction) -> Operation | None:
    for function in instruction.functions:
        for operation, pattern in _FUNCTIONS:
            if pattern.search(function):
                return operation
    known = _PRIMITIVES if instruction.backward else _PRIMITIVES | _PRIMITIVES_FORWARD
    return known.get(instruction.primitive)


def read_program(text: str) -> Program:
    """From XLA's own notation of a compiled program."""
    stacks = _Stacks.read(text)
    instructions: dict[str, Instruction] = {}
    computations: dict[str, list[str]] = defaultdict(list)
    here = ""
    for line in text.splitlines():
        if (begun := _COMPUTATION.match(line)) is not None:
            here = begun[1]
        elif (found := _INSTRUCTION.match(line)) is not None:
            name, opcode = found.groups()
            calls, op_name, frame = (p.search(line) for p in (_CALLS, _OP_NAME, _FRAME))
            instructions[name] = Instruction(
                opcode=opcode,
                primitive=op_name[1].rpartition("/")[2] if op_name else "",
                backward="transpose(" in op_name[1] if op_name else False,
                functions=tuple(stacks.functions(int(frame[1]))) if frame else (),
                calls=calls[1] if calls and opcode == "fusion" else "",
            )
            computations[here].append(name)
    return Program(instructions, {name: tuple(held) for name, held in computations.items()})


@dataclass(frozen=True)
class _Stacks:
    """The tables at the head of a program's text."""

    names: Mapping[int, str]
    functions_of_locations: Mapping[int, int]
    frames: Mapping[int, tuple[int, int]]
    """Location, and the frame of the caller, 0 for none."""

    @classmethod
    def read(cls, text: str) -> _Stacks:
        names, locations, frames = (
            re.findall(pattern, _table(text, title), re.MULTILINE)
            for title, pattern in (
                ("FunctionNames", r'^(\d+) "([^"]*)"$'),
                ("FileLocations", r"^(\d+) \{.*\bfunction_name_id=(\d+)"),
                # The caller's number is written with one added.
                ("StackFrames", r"^(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)"),
            )
        )
        return cls(
            {int(n): name for n, name in names},
            {int(n): int(function) for n, function in locations},
            {int(n): (int(location), int(parent) - 1) for n, location, parent in frames},
        )

    def functions(self, frame: int) -> Iterator[str]:
        while frame in self.frames:
            location, parent = self.frames[frame]
            yield self.names.get(self.functions_of_locations.get(location, 0), "")
            frame = parent if parent < frame else 0


def _table(text: str, title: str) -> str:
    _, _, rest = text.partition(f"\n{title}\n")
    return rest.partition("\n\n")[0]


class Busy(NamedTuple):
    """A thread works on an instruction, or reads data, from one nanosecond to another."""

    start: float
    end: float
    operation: Operation


class Event(NamedTuple):
    """Of the trace; nanoseconds."""

    start: float
    duration: float
    thread: str
    name: str
    instruction: str = ""
    task: int = 0
    """Handed to the thread pool (``Record``), or begun there (``StartRegion``)."""


_BEGIN, _END, _HAND_OVER = (
    f"ThreadpoolListener::{name}" for name in ("StartRegion", "StopRegion", "Record")
)


def busy_times(events: Iterable[Event], operation: Callable[[str], Operation]) -> Iterator[Busy]:
    """When which thread worked on what.

    Large instructions cut themselves into tasks for the thread pool and return: what counts is
    when their tasks ran. A task may in turn run other instructions and hand over further tasks.
    """
    instruction_of_task: dict[int, str] = {}
    stacks: dict[str, list[tuple[str, float]]] = defaultdict(list)
    since: dict[str, float] = {}

    def settle(thread: str, now: float) -> Iterator[Busy]:
        """What the thread did since its last change, and the end of what is over."""
        stack = stacks[thread]
        while stack and stack[-1][1] <= now:
            yield from spend(thread, stack[-1][1])
            stack.pop()
        yield from spend(thread, now)

    def spend(thread: str, now: float) -> Iterator[Busy]:
        stack, start = stacks[thread], since.get(thread, now)
        since[thread] = max(now, start)
        # A task without an instruction waits for others, or starts them.
        if stack and (what := stack[-1][0]) and now > start:
            yield Busy(start, now, "data" if what == READING else operation(what))

    threads = set()
    last = 0.0
    for event in sorted(events, key=lambda event: (event.start, -event.duration)):
        stack = stacks[event.thread]
        threads.add(event.thread)
        last = max(last, event.start + event.duration)
        yield from settle(event.thread, event.start)
        if event.name == _HAND_OVER:
            instruction_of_task[event.task] = stack[-1][0] if stack else ""
        elif event.name == _BEGIN:
            stack.append((instruction_of_task.pop(event.task, ""), float("inf")))
        elif event.name == _END:
            # A task that began before the trace did ends without a beginning.
            while stack and stack.pop()[1] != float("inf"):
                pass
        else:
            stack.append((event.instruction or event.name, event.start + event.duration))
    for thread in threads:
        yield from settle(thread, last)


def divide(busy: Iterable[Busy], total: float) -> dict[Operation, float]:
    """``total`` seconds by operation.

    While several threads work a moment counts in parts to each, and while none does, as ``other``:
    so an instruction that keeps one thread busy and lets the rest wait counts in full.
    """
    changes = sorted(
        change
        for piece in busy
        for change in ((piece.start, 1, piece.operation), (piece.end, -1, piece.operation))
    )
    seconds: dict[Operation, float] = defaultdict(float)
    working: dict[Operation, int] = defaultdict(int)
    before = 0.0
    for now, change, operation in changes:
        threads = sum(working.values())
        for each, count in working.items():
            if count:
                seconds[each] += (now - before) * 1e-9 * count / threads
        working[operation] += change
        before = now
    seconds["other"] += max(0.0, total - sum(seconds.values()))
    return dict(seconds)


def seconds_by_operation(train: Callable[[], object], device: jax.Device) -> dict[Operation, float]:
    """How the seconds of ``train`` divide among all threads, or on the GPU."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            started = time.perf_counter()
            train()
            total = time.perf_counter() - started
        (file,) = Path(folder).rglob("*.xplane.pb")
        events = list(_read_events(ProfileData.from_file(str(file)), device))
    run = {event.instruction for event in events if event.instruction}
    # Recompiling it would take minutes for a deep network: the program that ran is at hand.
    programs = (read_program(text) for text in _texts(device))
    program = max(programs, key=lambda program: len(run & program.instructions.keys()))
    return divide(busy_times(events, program.operation), total)


def _texts(device: jax.Device) -> Iterator[str]:
    for executable in device.client.live_executables():
        for module in executable.hlo_modules():
            yield module.to_string()


def _read_events(data: ProfileData, device: jax.Device) -> Iterator[Event]:
    """What says who worked on what: on a GPU its own streams, otherwise the threads."""
    on_gpu = device.platform != "cpu"
    for plane in data.planes:
        if plane.name.startswith("/device:") != on_gpu:
            continue
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                instruction = stats.get("hlo_op", "")
                tasks = {_BEGIN: stats.get("_c", 0), _HAND_OVER: stats.get("_p", 0)}
                if instruction or event.name in (_BEGIN, _END, _HAND_OVER, READING):
                    yield Event(
                        start=event.start_ns,
                        duration=event.duration_ns,
                        thread=f"{plane.name} {line.name}",
                        name=event.name,
                        instruction=instruction,
                        task=tasks.get(event.name, 0),
                    )

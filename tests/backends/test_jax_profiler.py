# ruff: noqa: E501 - lines of XLA are long
from __future__ import annotations

import pytest

pytest.importorskip("jax")

from harness.backends.jax.data import READING
from harness.backends.jax.profiler import Busy, Event, busy_times, divide, read_program

# As XLA writes it, shortened. A caller's frame has its number plus one.
PROGRAM = """\
HloModule jit_train_step, is_scheduled=true

FileNames
1 "train.py"

FunctionNames
1 "JaxBackend.train_step"
2 "LeNet5.features"
3 "Conv.__call__"
4 "BatchNorm.__call__"
5 "JaxBackend.normalize"
6 "JaxBackend.train_step.<locals>.<lambda>"
7 "softmax_cross_entropy_with_integer_labels"
8 "Linear.__call__"
9 "PointwiseConv.__call__"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1 end_line=1 column=0 end_column=1}
2 {file_name_id=1 function_name_id=2 line=2 end_line=2 column=0 end_column=1}
3 {file_name_id=1 function_name_id=3 line=3 end_line=3 column=0 end_column=1}
4 {file_name_id=1 function_name_id=4 line=4 end_line=4 column=0 end_column=1}
5 {file_name_id=1 function_name_id=5 line=5 end_line=5 column=0 end_column=1}
6 {file_name_id=1 function_name_id=6 line=6 end_line=6 column=0 end_column=1}
7 {file_name_id=1 function_name_id=7 line=7 end_line=7 column=0 end_column=1}
8 {file_name_id=1 function_name_id=8 line=8 end_line=8 column=0 end_column=1}
9 {file_name_id=1 function_name_id=9 line=9 end_line=9 column=0 end_column=1}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=4 parent_frame_id=3}
5 {file_location_id=5 parent_frame_id=2}
6 {file_location_id=6 parent_frame_id=2}
7 {file_location_id=7 parent_frame_id=2}
8 {file_location_id=8 parent_frame_id=3}
9 {file_location_id=9 parent_frame_id=3}

%tanh_of_a_bias (p.1: f32[8,6], p.2: f32[6]) -> f32[8,6] {
  %p.1 = f32[8,6]{1,0} parameter(0)
  %p.2 = f32[6]{0} parameter(1)
  %b.1 = f32[8,6]{1,0} broadcast(%p.2), metadata={op_name="jit(s)/jvp()/add" stack_frame_id=3}
  %add.1 = f32[8,6]{1,0} add(%p.1, %b.1), metadata={op_name="jit(s)/jvp()/add" stack_frame_id=3}
  ROOT %tanh.1 = f32[8,6]{1,0} tanh(%add.1), metadata={op_name="jit(s)/tanh" stack_frame_id=2}
}

%normalised_tanh (p.3: f32[8,6]) -> f32[8,6] {
  %p.3 = f32[8,6]{1,0} parameter(0)
  %m.1 = f32[8,6]{1,0} multiply(%p.3, %p.3), metadata={op_name="jit(s)/mul" stack_frame_id=4}
  ROOT %tanh.2 = f32[8,6]{1,0} tanh(%m.1), metadata={op_name="jit(s)/tanh" stack_frame_id=2}
}

%turned (p.4: f32[8,6]) -> f32[6,8] {
  %p.4 = f32[8,6]{1,0} parameter(0)
  ROOT %t.1 = f32[6,8]{1,0} transpose(%p.4), dimensions={1,0}
}

%fast (p.5: f32[8,6], p.6: f32[6,8]) -> f32[8,8] {
  %p.5 = f32[8,6]{1,0} parameter(0)
  %p.6 = f32[6,8]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,8]{1,0} dot(%p.5, %p.6), metadata={op_name="jit(s)/dot_general" stack_frame_id=8}
}

ENTRY %main (state: f32[8,6]) -> (f32[8,6], f32[]) {
  %state = f32[8,6]{1,0} parameter(0)
  %conv = f32[8,6]{1,0} convolution(%state), metadata={op_name="jit(s)/conv_general_dilated" stack_frame_id=3}
  %own_conv = f32[8,6]{1,0} convolution(%state)
  %point = f32[8,6]{1,0} dot(%state, %state), metadata={op_name="jit(s)/dot_general" stack_frame_id=9}
  %add_tanh_fusion = f32[8,6]{1,0} fusion(%conv), kind=kLoop, calls=%tanh_of_a_bias, metadata={op_name="jit(s)/tanh" stack_frame_id=2}
  %mixed_fusion = f32[8,6]{1,0} fusion(%conv), kind=kLoop, calls=%normalised_tanh, metadata={op_name="jit(s)/tanh" stack_frame_id=2}
  %transpose_fusion = f32[6,8]{1,0} fusion(%conv), kind=kLoop, calls=%turned
  %ynn_fusion = f32[8,8]{1,0} fusion(%conv), kind=kCustom, calls=%fast, metadata={op_name="jit(s)/dot_general" stack_frame_id=8}
  %slope = f32[8,6]{1,0} multiply(%conv, %conv), metadata={op_name="jit(s)/transpose(jvp())/mul" stack_frame_id=2}
  %mean = f32[8]{0} reduce(%conv), metadata={op_name="jit(s)/jvp()/reduce_sum" stack_frame_id=2}
  %bias_slope = f32[6]{0} reduce(%conv), metadata={op_name="jit(s)/transpose(jvp())/reduce_sum" stack_frame_id=3}
  %scaled = f32[8,6]{1,0} divide(%conv, %conv), metadata={op_name="jit(s)/div" stack_frame_id=5}
  %step = f32[8,6]{1,0} subtract(%conv, %conv), metadata={op_name="jit(s)/sub" stack_frame_id=6}
  %loss = f32[] reduce(%conv), metadata={op_name="jit(s)/reduce_sum" stack_frame_id=7}
  %copy.1 = f32[8,6]{1,0} copy(%conv)
  ROOT %out = (f32[8,6]{1,0}, f32[]) tuple(%step, %loss)
}
"""


@pytest.mark.parametrize(
    ("instruction", "operation"),
    {
        "conv": "convolution",
        "own_conv": "convolution",
        "point": "convolution",
        "add_tanh_fusion": "activation",
        "mixed_fusion": "other",
        "transpose_fusion": "layout",
        "ynn_fusion": "matrix product",
        "slope": "activation",
        "mean": "pooling",
        "bias_slope": "convolution",
        "scaled": "data",
        "step": "optimiser",
        "loss": "loss",
        "copy.1": "layout",
        "nobody knows": "other",
    }.items(),
)
def test_instructions(instruction, operation):
    assert read_program(PROGRAM).operation(instruction) == operation


def listener(name, start, thread, task=0):
    return Event(start, 0, thread, f"ThreadpoolListener::{name}", task=task)


def test_tasks_belong_to_the_instruction_that_handed_them_over():
    events = [
        Event(0, 10, "a", "conv", "conv"),
        listener("Record", 5, "a", task=7),
        # Not part of it: handed over when it was done.
        listener("Record", 12, "a", task=8),
        listener("StartRegion", 20, "b", task=7),
        Event(24, 2, "b", "tanh", "tanh"),
        listener("StopRegion", 30, "b"),
        listener("StartRegion", 40, "b", task=8),
        listener("StopRegion", 50, "b"),
        Event(60, 5, "c", READING),
    ]
    found = sorted(busy_times(events, lambda name: name))
    assert found == [
        Busy(0, 5, "conv"),
        Busy(5, 10, "conv"),
        Busy(20, 24, "conv"),
        Busy(24, 26, "tanh"),
        Busy(26, 30, "conv"),
        Busy(60, 65, "data"),
    ]


def test_a_moment_counts_in_parts_to_each_busy_thread_and_otherwise_as_other():
    second = 1e9
    busy = [
        Busy(0, 4 * second, "convolution"),
        Busy(1 * second, 3 * second, "convolution"),
        Busy(2 * second, 3 * second, "data"),
        Busy(5 * second, 6 * second, "loss"),
    ]
    found = divide(busy, 10.0)
    assert found == pytest.approx(
        {"convolution": 3 + 2 / 3, "data": 1 / 3, "loss": 1.0, "other": 5.0}
    )

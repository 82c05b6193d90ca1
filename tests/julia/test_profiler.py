from __future__ import annotations

import pytest

from harness.backends.julia.profiler import divide, operation_of

OURS = "/home/me/julia/src"
REFERENCE = "/home/me/julia/reference/src"
KNET = "/depot/packages/Knet/x1/src/ops20"
NNLIB = "/depot/packages/NNlib/y2/src"
ENGINE = (f"backward! {REFERENCE}/tape.jl", f"train! {OURS}/train.jl", "call bridge.jl")
TAPE = ("differentiate /depot/packages/AutoGrad/z3/src/core.jl", f"train! {OURS}/train.jl")


@pytest.mark.parametrize(
    ("inside", "operation"),
    [
        (["vmuladd vectors.jl", f"kernel_tile! {REFERENCE}/direct.jl"], "convolution"),
        (
            [f"gemm! {REFERENCE}/gemm.jl", f"convolve! {REFERENCE}/convolution.jl"],
            "convolution",
        ),
        (
            [f"gemm! {REFERENCE}/gemm.jl", f"multiply! {REFERENCE}/dense.jl"],
            "matrix product",
        ),
        ([f"mean_tiles! {REFERENCE}/pooling.jl"], "pooling"),
        ([f"gradient_sums {REFERENCE}/batchnorm.jl"], "normalisation"),
        ([f"nll {REFERENCE}/loss.jl"], "loss"),
        (["setindex! ./array.jl", f"inputs! {OURS}/data.jl"], "data"),
        (["materialize ./broadcast.jl", f"update! {OURS}/optimizers.jl"], "optimiser"),
        (["jl_gc_collect libjulia.so.1"], "other"),
        (["wait ./task.jl", "jl_task_get_next libjulia.so.1"], None),
        ([f"barrier! {REFERENCE}/parallel.jl", f"allreduce! {REFERENCE}/batchnorm.jl"], None),
    ],
)
def test_frames_of_our_engine(inside, operation):
    assert operation_of([*inside, *ENGINE]) == operation


@pytest.mark.parametrize(
    ("inside", "operation"),
    [
        ([f"im2col! {NNLIB}/impl/conv_im2col.jl", f"#conv4#19 {KNET}/conv.jl"], "convolution"),
        ([f"gemm! {NNLIB}/gemm.jl"], "convolution"),
        ([f"#conv4w#20 {KNET}/conv.jl"], "convolution"),
        ([f"meanpool_direct! {NNLIB}/impl/pooling_direct.jl"], "pooling"),
        ([f"#PoolDims#12 {NNLIB}/dim_helpers/PoolDims.jl", f"#pool#97 {KNET}/conv.jl"], "pooling"),
        (["gemm! /usr/share/julia/stdlib/v1.5/LinearAlgebra/src/matmul.jl"], "matrix product"),
        ([f"_logsoftmax {KNET}/softmax.jl", f"nll {KNET}/loss.jl"], "loss"),
        (["tanh ./special/hyperbolic.jl", "copyto! ./broadcast.jl"], "activation"),
        (["unbroadcast /depot/packages/AutoGrad/z3/src/unbroadcast.jl"], "activation"),
        ([f"batchnorm {KNET}/batchnorm.jl"], "normalisation"),
        (["record! /depot/packages/AutoGrad/z3/src/core.jl"], "other"),
    ],
)
def test_frames_of_knet(inside, operation):
    assert operation_of([*inside, *TAPE]) == operation


def test_a_sample_counts_in_parts_to_each_thread_that_works():
    working, idle = f"\tconvolve! {REFERENCE}/convolution.jl", "\tjl_task_get_next x"
    updating = f"\tupdate! {OURS}/optimizers.jl"
    samples = "\n".join(
        [
            f"4\f{working}\f{working}",
            f"4\f{working}\f{updating}",
            f"3\f{updating}\f{idle}",
            f"1\f{idle}\f{idle}",
        ]
    )
    found = divide(samples, 6.0)
    assert found == pytest.approx({"convolution": 3.0, "optimiser": 2.5, "other": 0.5})

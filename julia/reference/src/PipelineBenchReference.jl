"""
The reference engine: what the networks of `PipelineBench` need (convolution, pooling,
normalisation, losses, reverse-mode gradients, threads), on Julia's standard library and BLAS.

A performance bound for these networks on this CPU and a cross-language path that needs no
package: not a framework. See the README beside this package.
"""
module PipelineBenchReference

using LinearAlgebra: BLAS, BlasInt
using PipelineBench:
    PipelineBench, Batch, Bridge, Images, Received, has_hdf5, inputs!, optimizer, read_split,
    slot, steps, steps!, target_shape, targets!, update!

include("engine.jl")
include(PipelineBench.PIPELINE)

needs_barrier(::BatchNorm) = true

PipelineBench.precompiling() && precompile_workload()

# When this package is loaded, not when it is precompiled: the register belongs to the other one.
__init__() = Bridge.register("reference", @__MODULE__)

end

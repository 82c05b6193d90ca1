"""
The networks of the comparison in Julia, written in the idiom of Knet.jl, and what drives them.

`pipeline.jl` holds the networks and their training once, against a small set of operations. It is
included twice: here into `Standard`, where the operations are our own and need nothing but
Julia's standard library and BLAS, and in the package `PipelineBenchKnet`, where they are Knet's.
"""
module PipelineBench

include("data.jl")
include("bridge.jl")
include("received.jl")
include("sampler.jl")

module Standard
    using ..PipelineBench: Batch, Images, Received, has_hdf5, inputs!, read_split, target_shape, targets!
    using LinearAlgebra: BLAS, BlasInt

    include("standard/engine.jl")
    include("pipeline.jl")

    meets(::BatchNorm) = true
end

Bridge.register("standard", Standard)
Bridge.register("sampler", Sampler)

precompiling() = ccall(:jl_generating_output, Cint, ()) == 1
precompiling() && Standard.precompile_workload()

end

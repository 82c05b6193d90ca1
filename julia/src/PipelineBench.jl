"""
What the Julia variants have in common: how Python calls them, the data, the networks in the style
of Knet.jl, their training.

`pipeline.jl` holds the networks and their training once, against a small set of operations. It is
included twice: by the package `PipelineBenchKnet`, where the operations are Knet's, and by
`PipelineBenchReference`, where they need nothing but Julia's standard library and BLAS.
"""
module PipelineBench

include("data.jl")
include("bridge.jl")
include("received.jl")
include("sampler.jl")
include("optimizers.jl")

"The file that a package with an engine includes."
const PIPELINE = joinpath(@__DIR__, "pipeline.jl")

__init__() = (Bridge.register("sampler", Sampler); Bridge.register("bridge", Bridge))

precompiling() = ccall(:jl_generating_output, Cint, ()) == 1

end

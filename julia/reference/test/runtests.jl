using PipelineBench
using PipelineBenchReference
using Test

const Reference = PipelineBenchReference
using .Reference: BatchNorm, Conv, Dense, Engine, Param, Pool, Tape, Team, Variable
using .Reference: average, backward!, batchnorm, bce, conv4, gradient!, mat, nll, pool, relu, reset!

include("gradients.jl")
include("operations.jl")
include("training.jl")

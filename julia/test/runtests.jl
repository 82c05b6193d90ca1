using PipelineBench
using Test

const Standard = PipelineBench.Standard
using .Standard: BatchNorm, Conv, Dense, Engine, Param, Pool, Tape, Team, Variable
using .Standard: average, backward!, batchnorm, bce, conv4, gradient!, mat, nll, pool, relu, reset!

include("gradients.jl")
include("operations.jl")
include("training.jl")

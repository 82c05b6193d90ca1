"""
The networks of `PipelineBench` on Knet.jl: its operations, AutoGrad's gradients.
"""
module PipelineBenchKnet

using Knet: Knet, @diff, Param, bnmoments, conv4, grad, mat, nll, pool, relu, value
using LinearAlgebra: BLAS
using PipelineBench:
    PipelineBench, Batch, Bridge, Images, Received, has_hdf5, inputs!, optimizer, read_split,
    slot, steps, steps!, target_shape, targets!, update!

"The arrays of a batch, and the tape of the last step."
mutable struct Engine{T}
    tape
end

# NNlib spreads a convolution over Julia's threads, image by image; BLAS inside takes one.
Engine{T}() where {T} = (BLAS.set_num_threads(1); Engine{T}(nothing))

engine_name() = "Knet.jl $(version(Knet))"

# Where Julia keeps a package's Project.toml, which is where its version is written.
function version(package::Module)
    project = joinpath(dirname(dirname(pathof(package))), "Project.toml")
    found = match(r"^version *= *\"(.*)\""m, read(project, String))
    return found === nothing ? "of unknown version" : found.captures[1]
end

function inputs(batch::Batch{T}) where {T}
    x = Array{T}(undef, size(batch.images.pixels)[1:3]..., length(batch))
    return inputs!(x, batch)
end

function targets(batch::Batch)
    T, shape = target_shape(batch.images, length(batch))
    return targets!(Array{T}(undef, shape), batch.images, batch.indices)
end

cross_entropy(logits, classes::Vector{Int}, _) = nll(logits, classes)

# Knet's own `bce` takes one label an image.
function cross_entropy(s, labels::Matrix, positive_weights)
    # max(0, s) - y s + log(1 + exp(-|s|)), with weight w for a positive
    positive = isempty(positive_weights) ? labels : labels .* positive_weights
    small = log.(1 .+ exp.(-abs.(s)))
    losses = positive .* (max.(0, -s) .+ small) .+ (1 .- labels) .* (max.(0, s) .+ small)
    return sum(losses) / length(losses)
end

# Knet's running variance is the biased one of the batch. Here its moments take the batch's whole
# (momentum 1), and the protocol's running statistics are made of them.
function batchnorm(x, scale, shift, running_mean, running_var)
    T, shape = eltype(running_mean), (1, 1, length(running_mean), 1)
    params = vcat(scale, shift)
    if !Knet.training()
        mean, var = reshape(running_mean, shape), reshape(running_var, shape)
        moments = bnmoments(; mean = mean, var = var)
        return Knet.batchnorm(x, moments, params; training = false)
    end
    moments = bnmoments(; momentum = one(T), mean = zeros(T, shape), var = zeros(T, shape))
    y = Knet.batchnorm(x, moments, params; training = true)
    count = length(value(x)) ÷ length(running_mean)
    running_mean .+= T(0.1) .* (vec(moments.mean) .- running_mean)
    running_var .+= T(0.1) .* (vec(moments.var) .* T(count / max(1, count - 1)) .- running_var)
    return y
end

function loss_and_gradients!(engine::Engine, network, batch::Batch)
    x, y = inputs(batch), targets(batch)
    engine.tape = @diff cross_entropy(network(x), y, batch.images.positive_weights)
    return value(engine.tape)
end

gradient(engine::Engine, p::Param) = grad(engine.tape, p)

logits!(out, ::Engine, network, batch::Batch) = copyto!(out, network(inputs(batch)))

function maps_and_gradients(::Engine, network, batch::Batch, outputs)
    maps = Param(features(network, inputs(batch)))
    tape = @diff sum(classify(network, maps)[output, n] for (n, output) in enumerate(outputs))
    return value(maps), grad(tape, maps)
end

include(PipelineBench.PIPELINE)

include("idiom.jl")

const PRECOMPILE_TOOLS =
    Base.PkgId(Base.UUID("aea7be01-6a6a-4083-8856-8a6e6704d82a"), "PrecompileTools")

# AutoGrad calls by dispatch at run time, into methods of other packages: native code of these is
# kept (Julia 1.9) only where PrecompileTools, one of Knet's own dependencies there, tracks them.
@static if Base.locate_package(PRECOMPILE_TOOLS) === nothing
    PipelineBench.precompiling() && (precompile_workload(); Idiom.precompile_workload())
else
    include("workload.jl")
end

# When this package is loaded, not when it is precompiled: the register belongs to the other one.
function __init__()
    Bridge.register("knet", @__MODULE__)
    Bridge.register("knet-idiom", Idiom, @__MODULE__)
end

end

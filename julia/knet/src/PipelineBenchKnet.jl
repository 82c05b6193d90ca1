"""
The networks of `PipelineBench` on Knet.jl: its operations, AutoGrad's gradients.
"""
module PipelineBenchKnet

using Knet: Knet, @diff, Param, conv4, grad, mat, nll, pool, relu, value
using LinearAlgebra: BLAS
using PipelineBench:
    PipelineBench, Batch, Bridge, Images, has_hdf5, inputs!, read_split,
    target_shape, targets!

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
    return inputs!(x, batch.images, batch.indices)
end

function targets(batch::Batch)
    T, shape = target_shape(batch.images, length(batch))
    return targets!(Array{T}(undef, shape), batch.images, batch.indices)
end

cross_entropy(scores, classes::Vector{Int}) = nll(scores, classes)

# Knet's own `bce` takes one label an image.
function cross_entropy(s, labels::Matrix)
    losses = max.(0, s) .- labels .* s .+ log.(1 .+ exp.(-abs.(s)))
    return sum(losses) / length(losses)
end

function loss_and_gradients!(engine::Engine, network, batch::Batch)
    x, y = inputs(batch), targets(batch)
    engine.tape = @diff cross_entropy(network(x), y)
    return value(engine.tape)
end

gradient(engine::Engine, p::Param) = grad(engine.tape, p)

scores!(out, ::Engine, network, batch::Batch) = copyto!(out, network(inputs(batch)))

include(joinpath(dirname(pathof(PipelineBench)), "pipeline.jl"))

PipelineBench.precompiling() && rehearse()

# When this package is loaded, not when it is precompiled: the register belongs to the other one.
__init__() = Bridge.register("knet", @__MODULE__)

end

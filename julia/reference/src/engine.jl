# The operations that the networks are written against, on nothing but BLAS.
#
# A batch is cut into slices. Each thread takes its share of them, one after the other, forwards
# and backwards through the whole network, and sums gradients of its own: what a slice computes
# stays in the cache of its core, and threads wait for each other once a step. The order of all
# sums depends on the number of threads alone, so equal runs give equal bits.

include("parallel.jl")
include("vectors.jl")
include("tape.jl")
include("gemm.jl")
include("convolution.jl")
include("direct.jl")
include("pooling.jl")
include("elementwise.jl")
include("dense.jl")
include("batchnorm.jl")
include("concatenation.jl")
include("loss.jl")

const SLICE = 16  # images: LeNet-5's arrays for them fit the second-level cache of a core

mutable struct Engine{T}
    team::Team
    tapes::Vector{Tape{T}}
    losses::Vector{T}
end

"""
    Engine{T}()

One tape for every thread of this Julia; products of matrices take one thread each.
"""
function Engine{T}() where {T}
    BLAS.set_num_threads(1)
    WIDE[] = has_avx512()
    team = Team(Threads.nthreads())
    return Engine{T}(team, [Tape{T}(team, member) for member in 1:team.size], zeros(T, team.size))
end

engine_name() = "standard library and BLAS"

"Slices of `1:count` for one member of the team: neighbours, all of one size but the last."
function slices(team::Team, member::Int, count::Int)
    size = min(SLICE, cld(count, team.size))
    total = cld(count, size)
    mine = (member-1)*total÷team.size+1:member*total÷team.size
    return ((n-1)*size+1:min(n * size, count) for n in mine)
end

"Slices of a network with barriers inside it: one for each member."
shares(team::Team, member::Int, count::Int) =
    ((member-1)*count÷team.size+1:member*count÷team.size,)

function input!(tape::Tape{T}, batch::Batch{T}, slice) where {T}
    reset!(tape, length(slice))
    pixels = batch.images.pixels
    x = borrow!(tape.arena, T, (size(pixels)[1:3]..., length(slice)))
    inputs!(x, batch, slice)
    return Variable(tape, x; differentiable = false)
end

function labels!(tape::Tape, batch::Batch, slice)
    y = borrow!(tape.arena, target_shape(batch.images, length(slice))...)
    return targets!(y, batch.images, view(batch.indices, slice))
end

"""
    loss_and_gradients!(engine, network, batch) -> loss

Mean loss over the batch; the gradients wait in the engine for [`gradient`](@ref).
"""
function loss_and_gradients!(engine::Engine{T}, network, batch::Batch{T}) where {T}
    together(engine.team) do member
        tape = engine.tapes[member]
        tape.images = length(batch)
        tape.recording = true
        foreach(g -> fill!(g, zero(T)), values(tape.gradients))
        loss = zero(T)
        cut = needs_barrier(network) ? shares : slices
        for slice in cut(engine.team, member, length(batch))
            x = input!(tape, batch, slice)
            y = labels!(tape, batch, slice)
            loss += cross_entropy(network(x), y, batch.images.positive_weights)
            backward!(tape)
        end
        engine.losses[member] = loss
    end
    first, others = Iterators.peel(engine.tapes)
    for tape in others, (param, gradient) in tape.gradients
        gradient!(first, param) .+= gradient
    end
    return sum(engine.losses)
end

"Gradient of a parameter after [`loss_and_gradients!`](@ref): an array of the engine's, to read."
gradient(engine::Engine, p::Param) = gradient!(engine.tapes[1], p)

"Logits (classes, images) of a network in evaluation, for the whole batch."
function logits!(out::Matrix{T}, engine::Engine{T}, network, batch::Batch{T}) where {T}
    together(engine.team) do member
        tape = engine.tapes[member]
        tape.recording = false
        for slice in slices(engine.team, member, length(batch))
            y = network(input!(tape, batch, slice))
            copyto!(view(out, :, slice), y.value)
        end
    end
    return out
end

"""
    maps_and_gradients(engine, network, batch, outputs) -> maps, gradients

The last feature maps (W, H, K, N) in evaluation, and there the gradient of logit `outputs[n]` of
every image n.
"""
function maps_and_gradients(engine::Engine{T}, network, batch::Batch{T}, outputs) where {T}
    tape = engine.tapes[1]
    tape.recording = false
    found = read(features(network, input!(tape, batch, 1:length(batch))))
    tape.recording = true
    maps = Variable(tape, found)
    logits = classify(network, maps)
    gradients, _ = gradient!(logits)
    fill!(gradients, zero(T))
    for (n, output) in enumerate(outputs)
        gradients[output, n] = one(T)
    end
    backward!(tape)
    return maps.value, maps.gradient
end

"Whether threads wait for each other inside the network, so that all must be in the same layer."
needs_barrier(network) =
    any(name -> needs_barrier(getfield(network, name)), fieldnames(typeof(network)))
needs_barrier(::Union{Param,Function,Number,Nothing}) = false
needs_barrier(layers::Tuple) = any(needs_barrier, layers)

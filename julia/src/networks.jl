# The networks that can be built. Each file in models/ defines one and registers it.

"By the name of its file: a function (T, shape, classes; activation, pooling) -> network."
const NETWORKS = Dict{String,Any}()

"""
    register_network(name, constructor)

Let the harness build a network by the name of the file that defines it.

`constructor(T, (width, height, channels), classes; activation, pooling)` returns it: a struct of
layers that can be called on images (W, H, C, N) and gives logits (classes, N). `features(net, x)`
and `classify(net, maps)` are its two halves, before and after the last feature maps. The names of
the fields are those of the model card's parameters.
"""
register_network(name, constructor) = (NETWORKS[name] = constructor; nothing)

const INCLUDED = Set{String}()

"""
    include_model(path)

Make the network of a model's file known, unless it is: files of models that are no part of this
package register theirs like those in `models/`, and see the layers and operations of the engine.
"""
function include_model(path)
    path in INCLUDED || Base.include(@__MODULE__, path)
    push!(INCLUDED, path)
    return nothing
end

"Names of the networks that are known, one a line."
networks() = join(sort!(collect(keys(NETWORKS))), '\n')

function build_network(name, T, shape, classes, f, pool)
    haskey(NETWORKS, name) || error("no network $name: no file of a model has registered it")
    return NETWORKS[name](T, shape, classes; activation = activation(f), pooling = pooling(pool))
end

foreach(include_model, filter(endswith(".jl"), readdir(joinpath(@__DIR__, "models"); join = true)))
